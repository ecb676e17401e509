/** All benches that `npm run bench -- NAME` knows; each is loaded when it is wanted. */
import type { Bench } from './bench.ts';

/** A bench of one shape stands where one of any shape is wanted: its options are read by its own shape only. */
const asBench = (bench: unknown): Bench => bench as Bench;

export const BENCHES: Readonly<Record<string, () => Promise<Bench>>> = {
  throughput: async () => asBench((await import('../throughput.ts')).throughput),
  exec: async () => asBench((await import('../exec.ts')).exec),
  failover: async () => asBench((await import('../failover.ts')).failover),
  scale: async () => asBench((await import('../scale.ts')).scale),
  ring: async () => asBench((await import('../micro/ring.ts')).ring),
  codec: async () => asBench((await import('../micro/codec.ts')).codec),
  store: async () => asBench((await import('../micro/store.ts')).store),
  join: async () => asBench((await import('../micro/join.ts')).joinBench),
};
