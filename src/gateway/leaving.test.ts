import { expect, test } from 'vitest'
import { manualClock } from '../ledger/books.fixture.ts'
import { Fault } from '../lib/fault.ts'
import { Leaving, unlessLeft } from './leaving.ts'
import { Patience } from './patience.ts'

const tooLong = () => new Fault('line_timeout_user')

test('who leaves is told to whom it concerns, once, and to nobody who was told to forget it', () => {
  const leaving = new Leaving()
  const told: string[] = []
  const forgotten = () => told.push('forgotten')
  leaving.tell(() => told.push('first'))
  leaving.tell(forgotten)
  leaving.tell(() => told.push('second'))
  leaving.forget(forgotten)
  leaving.leave()
  leaving.leave()
  expect(told).toEqual(['first', 'second'])
})

test('a signal says that a client left, whether it was asked for before or after', () => {
  const before = new Leaving()
  const { signal } = before
  expect(signal.aborted).toBe(false)
  before.leave()
  const after = new Leaving()
  after.leave()
  for (const one of [signal, after.signal]) expect(one.reason).toMatchObject({ fault: 'client_left' })
})

test('what is waited for comes to nothing as soon as the client leaves, and else concerns it no more', async () => {
  const leaving = new Leaving()
  expect(await unlessLeft(Promise.resolve('come'), leaving)).toBe('come')
  await expect(unlessLeft(Promise.reject(new Error('broken')), leaving)).rejects.toThrow('broken')
  const waiting = unlessLeft(new Promise(() => {}), leaving)
  leaving.leave()
  expect(await waiting).toBeUndefined()
  expect(await unlessLeft(Promise.resolve('late'), leaving)).toBeUndefined()
})

test.each([
  ['the client leaves', 'client_left', ({ leaving }: Ended) => leaving.leave()],
  ['the gateway stops', 'stopping', ({ closing }: Ended) => closing.abort(new Fault('stopping'))],
  ['the time is up', 'line_timeout_user', ({ clock }: Ended) => clock.advance(1000)],
])('patience ends when %s, for who asked before and who asks after', (_, fault, end) => {
  const ended = { leaving: new Leaving(), closing: new AbortController(), clock: manualClock(0) }
  const ends = { leaving: ended.leaving, closing: ended.closing.signal, clock: ended.clock, ms: 1000, tooLong }
  using early = new Patience(ends)
  const { signal } = early
  end(ended)
  expect(signal.reason).toMatchObject({ fault })
  using late = new Patience(ends)
  // Time counts from when somebody begins to wait.
  expect(late.signal.aborted).toBe(fault !== 'line_timeout_user')
})

test('patience that is over is ended by nobody any more', () => {
  const leaving = new Leaving()
  const clock = manualClock(0)
  const patience = new Patience({ leaving, closing: new AbortController().signal, clock, ms: 1000, tooLong })
  const { signal } = patience
  patience[Symbol.dispose]()
  leaving.leave()
  clock.advance(1000)
  expect(signal.aborted).toBe(false)
})

interface Ended {
  readonly leaving: Leaving
  readonly closing: AbortController
  readonly clock: ReturnType<typeof manualClock>
}
