import { expect, test } from 'vitest'
import { manualClock } from '../ledger/books.fixture.ts'
import type { Waiter } from './coordinator.ts'
import { a, caller } from './engines.fixture.ts'
import { inMemory } from './memory.ts'
import { slotOf } from './slots.fixture.ts'

const nobodyWaits: Waiter = {
  get signal(): AbortSignal {
    throw new Error('somebody has to wait')
  },
}

test('one process answers at once, and asks for a signal only when somebody has to wait', async () => {
  const lines = inMemory(manualClock(0))
  const entered = lines.enter(caller('u', 1), nobodyWaits)
  const taken = lines.take(a)
  const others = [lines.session('s', 1000), lines.spend([]), lines.change('a', condition => condition)]
  for (const answer of [entered, taken, ...others]) expect(answer).not.toBeInstanceOf(Promise)
  expect(() => lines.enter(caller('u', 1), nobodyWaits)).toThrow('somebody has to wait')
  await slotOf(await entered)[Symbol.asyncDispose]()
  await slotOf(await taken)[Symbol.asyncDispose]()
  expect(lines.linesNow()).toEqual({ callersRunning: 0, callersWaiting: 0, accountsTaken: 0, accountsWaiting: 0 })
})

test('a condition that stays as it was is no change, and nobody looks at it again', async () => {
  const lines = inMemory(manualClock(0))
  const before = lines.known().changes
  await lines.change('a', condition => condition)
  expect(lines.known().changes).toBe(before)
  await lines.change('a', condition => ({ ...condition, failures: 1, taken: 7 }))
  expect(lines.known().changes).toBe(before + 1)
  // What is taken is counted by the slots alone.
  expect(lines.known().of('a')).toMatchObject({ failures: 1, taken: 0 })
})
