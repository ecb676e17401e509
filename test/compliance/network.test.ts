/** Network: the compliance suite on both twins. */
import { describe } from 'vitest';
import { networkSuite } from './network-suite.ts';
import { realWorld, simWorld } from './network-worlds.ts';

describe('simulated', () => networkSuite(simWorld));
describe('libp2p', () => networkSuite(realWorld));
