import { expect, test } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { openGlance } from './glance.ts'

test('what was seen free counts for a second, less what holds have taken since', () => {
  let nowMs = 0
  const glance = openGlance({ ...systemClock, elapsedMs: () => nowMs })
  expect(glance.sawFree('w', 0n), 'nobody looked').toBe(false)
  glance.saw('w', 100n)
  expect([glance.sawFree('w', 100n), glance.sawFree('w', 101n), glance.sawFree('other', 1n)]).toEqual([true, false, false])
  glance.took('w', 40n)
  expect([glance.sawFree('w', 60n), glance.sawFree('w', 61n)]).toEqual([true, false])
  nowMs = 999
  expect(glance.sawFree('w', 60n)).toBe(true)
  nowMs = 1_000
  expect(glance.sawFree('w', 0n)).toBe(false)
  glance.saw('w', 5n)
  glance.forget('w')
  expect(glance.sawFree('w', 0n)).toBe(false)
})
