/** The version of this software; a test compares it with package.json. */
export const VERSION = '0.1.0';
