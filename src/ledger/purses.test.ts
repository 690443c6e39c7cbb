import { expect, test } from 'vitest'
import { manualClock } from './books.fixture.ts'
import { openPurses } from './purses.ts'

test('what was seen free counts for as long as it is said to, less what was taken since', () => {
  const clock = manualClock(0)
  const purses = openPurses(clock, 1_000)
  expect(purses.has('w', 0n), 'nobody looked').toBe(false)
  purses.look('w')(100n)
  expect([purses.has('w', 100n), purses.has('w', 101n), purses.has('other', 1n)]).toEqual([true, false, false])
  purses.took('w', 40n)
  expect([purses.has('w', 60n), purses.has('w', 61n)]).toEqual([true, false])
  purses.gave('w', 15n, purses.looks)
  expect([purses.has('w', 75n), purses.has('w', 76n)]).toEqual([true, false])
  clock.advance(999)
  expect(purses.has('w', 75n)).toBe(true)
  clock.advance(1)
  expect(purses.has('w', 0n)).toBe(false)
})

test('what is taken while somebody looks is taken off what they see', () => {
  const purses = openPurses(manualClock(0), Number.POSITIVE_INFINITY)
  const saw = purses.look('w')
  purses.took('w', 30n)
  purses.took('other', 50n)
  saw(100n)
  expect([purses.has('w', 70n), purses.has('w', 71n)]).toEqual([true, false])
})

test('what the books are still to set aside is taken off what anybody sees meanwhile', () => {
  const purses = openPurses(manualClock(0), Number.POSITIVE_INFINITY)
  const answered = purses.ask('w', 30n)
  purses.look('w')(100n) // Before the books had set it aside, or after: nobody can tell.
  expect([purses.has('w', 70n), purses.has('w', 71n)]).toEqual([true, false])
  answered(10n)
  expect([purses.has('w', 90n), purses.has('w', 91n)]).toEqual([true, false])
  purses.look('w')(100n)
  expect(purses.has('w', 100n)).toBe(true)
})

test('what was given back before a look counts once, also when it is heard of afterwards', () => {
  const purses = openPurses(manualClock(0), Number.POSITIVE_INFINITY)
  purses.look('w')(100n)
  const { looks } = purses
  purses.look('w')(100n)
  purses.gave('w', 20n, looks)
  expect([purses.has('w', 100n), purses.has('w', 101n)]).toEqual([true, false])
  purses.gave('w', 20n, purses.looks)
  expect(purses.has('w', 120n)).toBe(true)
})

test('what somebody else has changed meanwhile is looked at again', () => {
  const purses = openPurses(manualClock(0), Number.POSITIVE_INFINITY)
  purses.look('w')(100n)
  purses.look('other')(100n)
  const [before, during] = [purses.look('w'), purses.look('w')]
  before(undefined)
  expect(purses.has('w', 100n), 'the books did not say').toBe(true)
  purses.forget('w')
  during(100n)
  expect([purses.has('w', 0n), purses.has('other', 100n)]).toEqual([false, true])
  purses.forget()
  expect(purses.has('other', 0n)).toBe(false)
})
