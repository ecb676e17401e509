/** The OpenRPC document of `rpc.discover`: complete, self-contained, and true to the schemas. */
import { expect, test } from 'vitest';
import { METHODS, NOTIFICATIONS } from '../../src/api/methods.ts';
import { ERROR_CODES } from '../../src/base/errors.ts';
import { openRpcDocument } from '../../src/control/discover.ts';
import { ControlMemory, line } from '../support/control-memory.ts';

interface Descriptor {
  readonly name: string;
  readonly required: boolean;
  readonly schema: Readonly<Record<string, unknown>>;
}

interface Document {
  readonly openrpc: string;
  readonly methods: readonly {
    readonly name: string;
    readonly paramStructure: string;
    readonly params: readonly Descriptor[];
    readonly result: Descriptor;
    readonly errors: readonly { readonly $ref: string }[];
  }[];
  readonly 'x-notifications': readonly { readonly name: string }[];
  readonly components: { readonly errors: Readonly<Record<string, { readonly code: number }>> };
}

const document = openRpcDocument('0.1.0') as unknown as Document;

test('rpc.discover answers the document', async () => {
  const world = new ControlMemory();
  const [answer] = await world.ask(world.connect(), line(1, 'rpc.discover'));
  expect(answer?.result).toEqual(JSON.parse(JSON.stringify(document)));
  expect(answer?.result?.openrpc).toMatch(/^1\.3\./);
});

test('every method, notification and error is in it', () => {
  expect(document.methods.map(({ name }) => name)).toEqual(Object.keys(METHODS));
  expect(document['x-notifications'].map(({ name }) => name)).toEqual(Object.keys(NOTIFICATIONS));
  expect(Object.keys(document.components.errors)).toEqual(Object.keys(ERROR_CODES));
});

test('numbers of errors are unique', () => {
  const numbers = Object.values(document.components.errors).map(({ code }) => code);
  expect(new Set(numbers).size).toBe(numbers.length);
});

test('parameters are named, with their defaults and limits, required ones before optional in meaning', () => {
  const list = document.methods.find(({ name }) => name === 'task.list');
  expect(list?.paramStructure).toBe('by-name');
  expect(list?.params.find(({ name }) => name === 'limit')).toEqual({
    ...{ name: 'limit', required: false },
    schema: { type: 'integer', minimum: 1, maximum: 1_000, default: 100 },
  });
  const get = document.methods.find(({ name }) => name === 'task.get');
  expect(get?.params).toMatchObject([
    { name: 'id', required: true },
    { name: 'read', required: false },
  ]);
  const submit = document.methods.find(({ name }) => name === 'task.submit');
  expect(submit?.params.map(({ name }) => name)).toContain('exec');
});

test('every reference leads somewhere', () => {
  const references = JSON.stringify(document).match(/"\$ref":"[^"]*"/g) ?? [];
  expect(references.length).toBeGreaterThan(0);
  for (const reference of new Set(references)) {
    const code = /^"\$ref":"#\/components\/errors\/(\w+)"$/.exec(reference)?.[1] ?? reference;
    expect(Object.keys(ERROR_CODES)).toContain(code);
  }
});
