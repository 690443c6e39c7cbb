import { expect, test } from 'vitest'
import { manualClock } from '../ledger/books.fixture.ts'
import { openMetrics } from '../lib/metrics.ts'
import { Intake } from './intake.ts'

/** Two may be in hand. A call is over when it is told so. */
function ground(callsInHandMax = 2) {
  const clock = manualClock(0)
  const metrics = openMetrics()
  const begun: string[] = []
  const over = new Map<string, () => void>()
  const elsewhere = { count: 0, idleMs: 0 }
  const inHand = () => over.size - elsewhere.count
  const intake = new Intake({ callsInHandMax, clock, metrics, inHand, idleMs: () => elsewhere.idleMs })
  return {
    ...{ intake, clock, metrics, begun, elsewhere },
    /** As serve.ts does; returns how its client leaves. */
    come(name: string, whose = 'key'): () => void {
      let leave: (() => void) | undefined
      const offOver = () => {
        leave = undefined
      }
      const onOver = (then: () => void) => {
        leave = () => {
          offOver()
          then()
        }
      }
      const begin = () => {
        begun.push(name)
        return new Promise<void>(resolve => void over.set(name, resolve))
      }
      if (intake.hasRoom) void begin()
      else void intake.wait(whose, { onOver, offOver }, begin)
      return () => leave?.()
    },
    end(name: string): void {
      over.get(name)!()
      over.delete(name)
      intake.ended()
    },
  }
}

test('what comes while as many are in hand as may be waits, and goes on in order as others end', () => {
  const { come, end, begun, intake } = ground()
  for (const name of ['a', 'b', 'c', 'd']) come(name)
  expect(begun).toEqual(['a', 'b'])
  expect(intake.waiting).toBe(2)
  end('b')
  expect(begun).toEqual(['a', 'b', 'c'])
  end('a')
  end('c')
  expect(begun).toEqual(['a', 'b', 'c', 'd'])
  expect(intake.waiting).toBe(0)
})

test('nobody overtakes those who wait', () => {
  const { come, begun, elsewhere } = ground(1)
  for (const name of ['a', 'b']) come(name)
  elsewhere.count = 1 // There is room again, and nobody has been told.
  come('c')
  expect(begun).toEqual(['a'])
})

test('each key has its turn, however many of another key wait', () => {
  const { come, end, begun } = ground(1)
  for (const name of ['a', 'b', 'c', 'd']) come(name, 'loud')
  for (const name of ['x', 'y']) come(name, 'quiet')
  for (const name of ['a', 'b', 'x', 'c', 'y']) end(name)
  expect(begun).toEqual(['a', 'b', 'x', 'c', 'y', 'd'])
})

test('a client that leaves unread is counted, and never begun', async () => {
  const { come, end, begun, intake, metrics } = ground(1)
  const [, leave] = [come('a'), come('b'), come('c', 'another')]
  leave!()
  leave!()
  expect(intake.waiting).toBe(1)
  end('a')
  expect(begun).toEqual(['a', 'c'])
  expect((await metrics.unauthenticated.get()).values).toMatchObject([{ value: 1, labels: { fault: 'client_left' } }])
})

test('when nobody ends, and when the thread has time, some are let in all the same', () => {
  const { come, begun, clock, elsewhere, intake } = ground(4)
  for (const name of 'abcdefg') come(name)
  clock.advance(10)
  expect(begun.join('')).toBe('abcde') // Nobody has ended: a quarter of four.
  intake.ended()
  clock.advance(10)
  expect(begun.join('')).toBe('abcde')
  elsewhere.idleMs = 6
  intake.ended()
  clock.advance(10)
  expect(begun.join('')).toBe('abcdef')
})

test('0 lets in whatever comes', () => {
  const { come, begun } = ground(0)
  for (const name of 'abcdefg') come(name)
  expect(begun.join('')).toBe('abcdefg')
})
