import { describe, expect, test } from 'vitest'
import { manualClock } from '../ledger/books.fixture.ts'
import { Fault } from '../lib/fault.ts'
import type { AccountLimit, Caller, Meter } from './coordinator.ts'
import { caller, engines, entry, nobody, notebook, patient } from './engines.fixture.ts'
import { slotOf } from './slots.fixture.ts'

describe.each(engines)('meters, $name', ({ open }) => {
  const minute = (name: string, perMinute: number, amount = 1) => ({ name, owner: 'user:u', perMinute, amount })

  test('a minute’s worth at once, and then evenly', async () => {
    const clock = manualClock(0)
    const { spend } = await open(clock)
    for (let i = 0; i < 4; i++) expect(await spend([minute('m', 4)])).toBeUndefined()
    expect(await spend([minute('m', 4)])).toEqual({ name: 'm', retryAfterMs: 15_000 })
    clock.advance(14_999)
    expect(await spend([minute('m', 4)])).toMatchObject({ retryAfterMs: 1 })
    clock.advance(1)
    expect(await spend([minute('m', 4)])).toBeUndefined()
    clock.advance(3_600_000)
    for (let i = 0; i < 4; i++) expect(await spend([minute('m', 4)])).toBeUndefined()
    expect(await spend([minute('m', 4)])).toBeDefined()
  })

  test('from every meter or from none; the fullest says when to come again', async () => {
    const { spend } = await open(manualClock(0))
    await spend([minute('x', 10, 9), minute('y', 10, 10)])
    expect(await spend([minute('x', 10, 3), minute('y', 10, 5)])).toEqual({ name: 'y', retryAfterMs: 30_000 })
    expect(await spend([minute('x', 10, 1)])).toBeUndefined()
  })

  test('what is larger than a minute’s worth needs a full meter, and leaves a debt', async () => {
    const clock = manualClock(0)
    const { spend } = await open(clock)
    expect(await spend([minute('m', 10, 25)])).toBeUndefined()
    expect(await spend([minute('m', 10, 1)])).toMatchObject({ retryAfterMs: 96_000 })
    clock.advance(96_000)
    expect(await spend([minute('m', 10, 25)])).toMatchObject({ retryAfterMs: 54_000 })
  })

  test('a correction needs no room, and gives back no more than a minute’s worth', async () => {
    const { spend, correct } = await open(manualClock(0))
    await spend([minute('m', 10, 10)])
    await correct([minute('m', 10, -50)])
    expect(await spend([minute('m', 10, 10)])).toBeUndefined()
    await correct([minute('m', 10, 5)])
    expect(await spend([minute('m', 10, 1)])).toMatchObject({ retryAfterMs: 36_000 })
  })

  test('a clock that jumps back takes nothing away and gives nothing', async () => {
    const clock = manualClock(1_000_000)
    const { spend } = await open(clock)
    await spend([minute('m', 2)])
    clock.advance(-500_000)
    expect(await spend([minute('m', 2)])).toBeUndefined()
    expect(await spend([minute('m', 2)])).toMatchObject({ retryAfterMs: 30_000 })
  })
})

/** A rate of the user u, of which this call takes so much. */
const ofUser = (perMinute: number, amount = 1): Meter[] => [{ name: 'user:u:requests', owner: 'user:u', perMinute, amount }]

describe.each(engines)('rates of callers, $name', ({ open }) => {
  const asking = (meters: readonly Meter[], userSlots = 1, waitingMax = 100): Caller => ({ ...caller('u', userSlots), meters, waitingMax })

  test('are spent with the slot; who is over is told so, and takes none', async () => {
    const lines = await open(manualClock(0))
    await lines.enter(asking(ofUser(1), 2), patient)
    const over = await lines.enter(asking(ofUser(1), 2), patient).catch((error: unknown) => error)
    expect(over).toMatchObject({ fault: 'rate_exceeded', retryAfterSeconds: 60, message: expect.stringContaining('for user: 1 requests') })
    expect(lines.linesNow()).toEqual({ ...nobody, callersRunning: 1 })
    await lines.enter(asking([], 2), patient)
  })

  test('are all spent or none', async () => {
    const lines = await open(manualClock(0))
    const ofKey = { name: 'key:k:requests', owner: 'user:u', perMinute: 1, amount: 1 }
    await lines.enter(asking([...ofUser(2), ofKey], 0), patient)
    for (let i = 0; i < 3; i++) await expect(lines.enter(asking([...ofUser(2), ofKey], 0), patient)).rejects.toThrow('for key: 1 requests')
    await lines.enter(asking(ofUser(2), 0), patient)
  })

  test('are spent by who waits, so that whoever would wait for nothing is told at once; who leaves has spent nothing', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    const leaving = new AbortController()
    seen.note('runs', lines.enter(asking(ofUser(2)), patient))
    seen.note('waits', lines.enter(asking(ofUser(2)), leaving))
    seen.note('over', lines.enter(asking(ofUser(2)), patient))
    expect(await seen.settled()).toEqual(['runs', 'over: rate_exceeded'])
    leaving.abort(new Fault('client_left'))
    seen.note('next', lines.enter(asking(ofUser(2)), patient))
    expect(await seen.settled()).toEqual(['waits: client_left'])
    await seen.give('runs')
    expect(await seen.settled()).toEqual(['next'])
  })

  test('are not spent in a line that is full, and not given back with a slot', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    seen.note('runs', lines.enter(asking(ofUser(2)), patient))
    for (let i = 0; i < 3; i++) seen.note('full', lines.enter(asking(ofUser(2), 1, 0), patient))
    expect(await seen.settled()).toEqual(['runs', 'full: line_full', 'full: line_full', 'full: line_full'])
    await seen.give('runs')
    seen.note('second', lines.enter(asking(ofUser(2)), patient))
    seen.note('third', lines.enter(asking(ofUser(2), 2), patient))
    expect(await seen.settled()).toEqual(['second', 'third: rate_exceeded'])
  })
})

/** The account a, with so many tokens a minute, of which the call takes so many. */
const account = (slots: number, perMinute: number, amount: number): AccountLimit => ({
  accountId: 'a',
  slots,
  meters: [{ name: 'account:a:tokens', owner: 'pools', perMinute, amount }],
})

describe.each(engines)('rates of accounts, $name', ({ open }) => {
  const over = { name: 'account:a:tokens', retryAfterMs: 60_000 }

  test('are spent with the slot, or neither is taken', async () => {
    const lines = await open(manualClock(0))
    const slot = slotOf(await lines.take(account(1, 10, 10)))
    expect(await lines.take(account(1, 20, 10))).toBeUndefined()
    await slot[Symbol.asyncDispose]()
    expect(await lines.take(account(1, 10, 10))).toEqual(over)
    expect(lines.linesNow()).toEqual(nobody)
    // What found no slot took nothing of a rate either: of twenty a minute, as it is now, ten are left.
    slotOf(await lines.take(account(1, 10, 0)))
  })

  test('are told to who finds a free slot in line, and no slot is taken', async () => {
    const lines = await open(manualClock(0))
    await slotOf(await lines.take(account(1, 10, 10)))[Symbol.asyncDispose]()
    expect(await lines.wait(entry('u', [account(1, 10, 10)]), patient)).toEqual({ accountId: 'a', over })
    expect(lines.linesNow()).toEqual(nobody)
  })

  test('are spent when a turn comes; who is over is told so, and the next in line has the slot', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    seen.note('first', lines.wait(entry('u', [account(1, 10, 6)]), patient))
    seen.note('large', lines.wait(entry('u', [account(1, 10, 6)]), patient))
    seen.note('small', lines.wait(entry('v', [account(1, 10, 4)]), patient))
    seen.note('last', lines.wait(entry('w', [account(1, 10, 1)]), patient))
    expect(await seen.settled()).toEqual(['first@a'])
    await seen.give('first')
    expect(await seen.settled()).toEqual(['large@a: over', 'small@a'])
    expect(lines.linesNow()).toEqual({ ...nobody, accountsTaken: 1, accountsWaiting: 1 })
    await seen.give('small')
    expect(await seen.settled()).toEqual(['last@a: over'])
    expect(lines.linesNow()).toEqual(nobody)
  })

  test('are not spent by who leaves the line, nor by an account’s slot that is taken without', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    const leaving = new AbortController()
    seen.note('first', lines.wait(entry('u', [account(1, 10, 0)]), patient))
    seen.note('leaves', lines.wait(entry('u', [account(1, 10, 10)]), leaving))
    expect(await seen.settled()).toEqual(['first@a'])
    leaving.abort(new Fault('client_left'))
    expect(await seen.settled()).toEqual(['leaves: client_left'])
    await seen.give('first')
    slotOf(await lines.take({ accountId: 'a', slots: 2 }))
    slotOf(await lines.take(account(2, 10, 10)))
  })
})
