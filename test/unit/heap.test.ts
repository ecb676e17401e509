/** The priority queue, by example and against a sorted list. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { greatest, Heap } from '../../src/base/heap.ts';

const smaller = (a: number, b: number): boolean => a < b;

describe('the heap', () => {
  it('gives the least first', () => {
    const heap = new Heap(smaller);
    for (const item of [3, 1, 2]) heap.push(item);
    expect(heap.peek()).toBe(1);
    expect([heap.pop(), heap.pop(), heap.pop(), heap.pop()]).toEqual([1, 2, 3, undefined]);
    expect(heap.size).toBe(0);
  });

  it('agrees with a sorted list under any pushes and pops', () => {
    const commands = fc.array(
      fc.oneof(fc.integer({ min: -5, max: 5 }), fc.constant('pop' as const)),
    );
    fc.assert(
      fc.property(commands, (list) => {
        const heap = new Heap(smaller);
        const model: number[] = [];
        for (const command of list) {
          if (command === 'pop') expect(heap.pop()).toBe(model.shift());
          else {
            heap.push(command);
            model.push(command);
            model.sort((a, b) => a - b);
          }
          expect([heap.size, heap.peek()]).toEqual([model.length, model[0]]);
        }
      }),
    );
  });
});

describe('the greatest of very many', () => {
  it('are those at the end of a sorted list', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.integer({ min: 1, max: 8 }), (list, count) => {
        expect(greatest(list, count)).toEqual([...list].sort().slice(-count));
      }),
    );
  });
});
