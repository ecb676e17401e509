/** Randomness. Real: the system's secure source. Simulated: a stream drawn from the world's seed. */
export type { Random } from '../base/random.ts';
