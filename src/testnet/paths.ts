/** Where the programs and presets of this package lie, seen from the sources and from dist/ alike. */
import { fileURLToPath } from 'node:url';

const fromRoot = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export const COVEYD = fromRoot('bin/coveyd');
export const COVEY = fromRoot('bin/covey');
export const COVEY_NODE = fromRoot('bin/covey-node');
export const TESTNET_PRESET = fromRoot('configs/testnet.yaml');
export const DEFAULT_DEMO_DIR = fromRoot('node_modules');
/** Another entry of this directory: `.ts` in a checkout, `.js` in dist/. */
export const entryOf = (name: string): string =>
  fileURLToPath(
    new URL(`./${name}${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
  );
