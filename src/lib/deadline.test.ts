import { expect, test } from 'vitest'
import type { Clock } from './clock.ts'
import { Deadline } from './deadline.ts'

test('a wait that is put off passes when it was quiet for so long, with one timer and not before it', () => {
  const clock = handClock()
  const passed: number[] = []
  using deadline = new Deadline(clock, 100, () => passed.push(clock.elapsedMs()))
  deadline.set(100)
  for (let beats = 0; beats < 50; beats += 1) {
    clock.advance(60)
    deadline.extend()
  }
  expect(clock.made).toBeLessThanOrEqual(50)
  expect(passed).toEqual([])
  clock.advance(99)
  expect(passed).toEqual([])
  clock.advance(1)
  expect(passed).toEqual([3100])
})

test.each([
  ['a shorter wait that was told of', 100],
  ['a shorter wait that was not told of', 10_000],
])('%s takes the place of a longer one', (_, shortestMs) => {
  const clock = handClock()
  let passed = 0
  using deadline = new Deadline(clock, shortestMs, () => passed++)
  deadline.set(10_000)
  clock.advance(50)
  deadline.set(100)
  clock.advance(99)
  expect(passed).toBe(0)
  clock.advance(1)
  expect(passed).toBe(1)
})

test('a longer wait takes the place of a shorter one', () => {
  const clock = handClock()
  let passed = 0
  using deadline = new Deadline(clock, 100, () => passed++)
  deadline.set(100)
  clock.advance(50)
  deadline.set(1000)
  clock.advance(999)
  expect(passed).toBe(0)
  clock.advance(1)
  expect(passed).toBe(1)
})

test('what has passed can be waited for anew, and what is over passes no more', () => {
  const clock = handClock()
  let passed = 0
  const deadline = new Deadline(clock, 100, () => passed++)
  deadline.set(100)
  clock.advance(100)
  deadline.extend()
  clock.advance(100)
  expect(passed).toBe(2)
  deadline.extend()
  deadline[Symbol.dispose]()
  deadline.extend()
  clock.advance(1000)
  expect(passed).toBe(2)
})

/** Time goes on by hand, a millisecond at a time, and timers are counted. */
function handClock(): Pick<Clock, 'elapsedMs' | 'nowMs' | 'after'> & { advance(ms: number): void; readonly made: number } {
  let nowMs = 0
  let made = 0
  const timers = new Map<object, { readonly dueMs: number; readonly then: () => void }>()
  return {
    nowMs: () => nowMs,
    elapsedMs: () => nowMs,
    after(ms, then) {
      made += 1
      const timer = { restart() {}, [Symbol.dispose]: () => void timers.delete(timer) }
      timers.set(timer, { dueMs: nowMs + ms, then })
      return timer
    },
    advance(ms) {
      for (const endMs = nowMs + ms; nowMs < endMs; ) {
        nowMs += 1
        for (const [timer, { dueMs, then }] of timers) if (dueMs <= nowMs && timers.delete(timer)) then()
      }
    },
    get made() {
      return made
    },
  }
}
