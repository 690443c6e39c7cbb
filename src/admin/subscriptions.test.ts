import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { runningSubscription } from '../directory/principals.ts'
import { step } from '../directory/steps.ts'
import type { Step } from '../storage/database.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, countRows, openAdminBed } from './admin.fixture.ts'

let bed: AdminBed
let startMs = 0
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
})
afterAll(() => bed[Symbol.asyncDispose]())
beforeEach(async () => {
  startMs = bed.clock.nowMs()
  await bed.ask(201, 'POST', '/groups', { name: 'team', pays: 'subscription' })
  await bed.ask(201, 'POST', '/users', { email: 'dev@example.com' })
})
afterEach(() => bed.empty())

const dayMs = 86_400_000
const share = { user: 'dev@example.com', group: 'team', days: 30 }
const timeAt = (ms: number) => new Date(ms).toISOString()

test('a share is assigned for so many days, and the data plane sees it at once', async () => {
  const { key } = await bed.ask(201, 'POST', '/keys', { user: 'dev@example.com', groups: ['team'], name: 'k' })
  const principal = await bed.directory.principalOf(key)
  expect(principal).toMatchObject({ subscriptions: [] })
  const made = await bed.ask(201, 'POST', '/subscriptions', { ...share, dailyLimit: '5', weeklyLimit: 20 })
  expect(made).toEqual({
    ...{ id: expect.any(String), user: 'dev@example.com', group: 'team', startsAt: timeAt(startMs), endsAt: timeAt(startMs + 30 * dayMs) },
    ...{ state: 'running', dailyLimit: '5.00', weeklyLimit: '20.00', monthlyLimit: null },
  })
  expect(await bed.ask(200, 'GET', '/subscriptions?user=dev@example.com')).toEqual({ items: [made], next: null })
  const seen = await bed.directory.principalOf(key)
  if (seen === 'unknown') throw new Error('The key is unknown.')
  const running = (atMs: number) => runningSubscription(seen, seen.key.groupIds[0]!, atMs)?.id
  expect([startMs - 1, startMs, startMs + 30 * dayMs - 1, startMs + 30 * dayMs].map(running)).toEqual([
    undefined,
    made.id,
    made.id,
    undefined,
  ])
})

test('two for the same group never run at the same time, one after the other may', async () => {
  await bed.ask(201, 'POST', '/subscriptions', share)
  const overlapping = { ...share, startsAt: timeAt(startMs + 30 * dayMs - 1), endsAt: timeAt(startMs + 40 * dayMs), days: undefined }
  expect((await bed.ask(409, 'POST', '/subscriptions', overlapping)).error.message).toContain('in that time already')
  await bed.ask(201, 'POST', '/subscriptions', { ...overlapping, startsAt: timeAt(startMs + 30 * dayMs) })
  expect(await countRows(bed, 'subscriptions')).toBe(2)
})

test('one ends now, once, by either verb; one that has not begun never will', async () => {
  const running = await bed.ask(201, 'POST', '/subscriptions', share)
  const future = await bed.ask(201, 'POST', '/subscriptions', { ...share, startsAt: timeAt(startMs + 60 * dayMs) })
  bed.clock.advance(dayMs)
  expect(await bed.ask(200, 'DELETE', `/subscriptions/${running.id}`)).toEqual({
    ...running,
    state: 'ended',
    endsAt: timeAt(startMs + dayMs),
  })
  expect(await bed.ask(200, 'POST', `/subscriptions/${future.id}/end`)).toEqual({ ...future, state: 'ended', endsAt: future.startsAt })
  for (const { id } of [running, future]) await bed.ask(409, 'DELETE', `/subscriptions/${id}`)
  await bed.ask(404, 'DELETE', '/subscriptions/none')
  await bed.ask(201, 'POST', '/subscriptions', share)
})

test('one that was ended before it began is in the way of no other', async () => {
  const future = await bed.ask(201, 'POST', '/subscriptions', { ...share, startsAt: timeAt(startMs + 10 * dayMs) })
  await bed.ask(200, 'POST', `/subscriptions/${future.id}/end`)
  const { id } = await bed.ask(201, 'POST', '/subscriptions', share)
  expect(await bed.ask(200, 'POST', `/subscriptions/${id}/extend`, { days: 1 })).toMatchObject({ endsAt: timeAt(startMs + 31 * dayMs) })
})

describe('an extension', () => {
  const extend = (id: string, extension: object, status = 200) => bed.ask(status, 'POST', `/subscriptions/${id}/extend`, extension)

  test('by days or until a time moves the end and nothing else, and the data plane sees it at once', async () => {
    const { key } = await bed.ask(201, 'POST', '/keys', { user: 'dev@example.com', groups: ['team'], name: 'k' })
    const made = await bed.ask(201, 'POST', '/subscriptions', { ...share, weeklyLimit: '7' })
    await bed.directory.principalOf(key)
    expect(await extend(made.id, { days: 2 })).toEqual({ ...made, endsAt: timeAt(startMs + 32 * dayMs) })
    expect(await extend(made.id, { until: timeAt(startMs + 33 * dayMs) })).toEqual({ ...made, endsAt: timeAt(startMs + 33 * dayMs) })
    const principal = await bed.directory.principalOf(key)
    expect(principal).toMatchObject({ subscriptions: [{ id: made.id, endsAtMs: startMs + 33 * dayMs }] })
  })

  test('of one that has ended, or was ended before it began, is refused: a new one is assigned', async () => {
    const over = await bed.ask(201, 'POST', '/subscriptions', { ...share, days: 1 })
    const never = await bed.ask(201, 'POST', '/subscriptions', { ...share, startsAt: timeAt(startMs + 60 * dayMs) })
    await bed.ask(200, 'POST', `/subscriptions/${never.id}/end`)
    bed.clock.advance(dayMs)
    const ended = 'This subscription has ended, and what has ended is not extended; assign a new one.'
    for (const { id } of [over, never])
      for (const extension of [{ days: 30 }, { until: timeAt(startMs + 400 * dayMs) }])
        expect((await extend(id, extension, 409)).error.message).toBe(ended)
    await bed.ask(201, 'POST', '/subscriptions', share)
  })

  test('ends where the next one of the same user and group begins', async () => {
    const first = await bed.ask(201, 'POST', '/subscriptions', share)
    const next = await bed.ask(201, 'POST', '/subscriptions', { ...share, startsAt: timeAt(startMs + 40 * dayMs) })
    const taken = 'Another subscription of this user to this group begins before that; end it first, or extend the last one.'
    for (const extension of [{ days: 11 }, { until: timeAt(startMs + 40 * dayMs + 1) }])
      expect((await extend(first.id, extension, 409)).error.message).toBe(taken)
    expect(await extend(first.id, { days: 10 })).toMatchObject({ endsAt: next.startsAt })
  })

  test('is not hindered by another user or another group', async () => {
    await bed.ask(201, 'POST', '/users', { email: 'other@example.com' })
    await bed.ask(201, 'POST', '/groups', { name: 'second', pays: 'subscription' })
    const { id } = await bed.ask(201, 'POST', '/subscriptions', share)
    const later = { ...share, startsAt: timeAt(startMs + 31 * dayMs) }
    await bed.ask(201, 'POST', '/subscriptions', { ...later, user: 'other@example.com' })
    await bed.ask(201, 'POST', '/subscriptions', { ...later, group: 'second' })
    expect(await extend(id, { days: 30 })).toMatchObject({ endsAt: timeAt(startMs + 60 * dayMs) })
  })

  test('that is none is refused with a sentence', async () => {
    const { id } = await bed.ask(201, 'POST', '/subscriptions', share)
    const cases = [
      [422, {}, 'days takes a number, or until takes a time: one of both.'],
      [422, { days: 1, until: timeAt(startMs + 90 * dayMs) }, 'one of both.'],
      [422, { days: 0 }, 'days must be at least 1.'],
      [409, { until: timeAt(startMs + 30 * dayMs) }, 'lasts until then already, or longer; an extension takes a later time.'],
    ] as const
    for (const [status, said, message] of cases) expect((await extend(id, said, status)).error.message).toContain(message)
    await extend('none', { days: 1 }, 404)
  })
})

describe('what is left', () => {
  const show = (id: string) => bed.ask(200, 'GET', `/subscriptions/${id}`)

  test('is reckoned for each window from what was used and is held in it', async () => {
    const made = await bed.ask(201, 'POST', '/subscriptions', { ...share, dailyLimit: '5', weeklyLimit: '6' })
    const id = made.id
    await bed.commit(windowRows(id, { daily: [1_000_000_000n, 500_000_000n], weekly: [3_000_000_000n, 500_000_000n], monthly: [4n, 0n] }))
    bed.clock.advance(dayMs - 1)
    const [weekEnds, monthEnds] = [timeAt(startMs + 7 * dayMs), timeAt(startMs + 30 * dayMs)]
    const beginsAt = timeAt(startMs)
    const weekly = { window: 'weekly', limit: '6.00', used: '3.00', held: '0.50', left: '2.50', beginsAt, resetsAt: weekEnds }
    const monthly = { window: 'monthly', limit: null, used: '0.000000004', held: '0.00', left: null, beginsAt, resetsAt: monthEnds }
    expect(await show(id)).toEqual({
      ...made,
      windows: [
        { window: 'daily', limit: '5.00', used: '1.00', held: '0.50', left: '3.50', beginsAt, resetsAt: timeAt(startMs + dayMs) },
        ...[weekly, monthly],
      ],
      left: '2.50',
    })
    bed.clock.advance(1)
    const next = { used: '0.00', held: '0.00', left: '5.00', beginsAt: timeAt(startMs + dayMs), resetsAt: timeAt(startMs + 2 * dayMs) }
    expect(await show(id)).toMatchObject({ windows: [next, weekly, monthly], left: '2.50' })
    expect(await countRows(bed, 'windows')).toBe(3)
  })

  test('is the whole of the first windows before it begins, and of the last ones after it ended', async () => {
    const { id } = await bed.ask(201, 'POST', '/subscriptions', { ...share, startsAt: timeAt(startMs + dayMs), days: 2, dailyLimit: '5' })
    expect(await show(id)).toMatchObject({ state: 'coming', windows: [{ beginsAt: timeAt(startMs + dayMs) }, {}, {}], left: '5.00' })
    bed.clock.advance(3 * dayMs)
    expect(await show(id)).toMatchObject({ state: 'ended', windows: [{ beginsAt: timeAt(startMs + 2 * dayMs) }, {}, {}] })
  })

  test('has no limit when none of the windows has one', async () => {
    const { id } = await bed.ask(201, 'POST', '/subscriptions', share)
    expect(await show(id)).toMatchObject({ left: null, windows: [{ left: null }, { left: null }, { left: null }] })
  })

  test('follows the limits when they are changed, and is never below nothing', async () => {
    const { id } = await bed.ask(201, 'POST', '/subscriptions', { ...share, dailyLimit: '5', weeklyLimit: '6' })
    await bed.commit(windowRows(id, { daily: [2_000_000_000n, 0n] }))
    const change = (limits: object, status = 200) => bed.ask(status, 'PATCH', `/subscriptions/${id}`, limits)
    expect(await change({ weeklyLimit: null, dailyLimit: '9.5' })).toMatchObject({ dailyLimit: '9.50', weeklyLimit: null })
    expect(await show(id)).toMatchObject({ left: '7.50' })
    expect(await change({ dailyLimit: '1' })).toMatchObject({ dailyLimit: '1.00', weeklyLimit: null })
    expect(await show(id)).toMatchObject({ left: '0.00' })
    expect((await change({ endsAt: timeAt(startMs) }, 422)).error.message).toContain('has no endsAt; it has dailyLimit, weeklyLimit')
    await bed.ask(200, 'POST', `/subscriptions/${id}/end`)
    expect((await change({ dailyLimit: '7' }, 409)).error.message).toBe('This subscription has ended; its limits mean nothing any more.')
  })
})

/** Used and held in the windows that begin with the subscription. */
function windowRows(id: string, windows: Readonly<Record<string, readonly [bigint, bigint]>>): Step[] {
  const sql = 'insert into windows (subscription_id, kind, starts_at, used, held) values ($1, $2, $3, $4, $5)'
  return Object.entries(windows).map(([kind, [used, held]]) => step(sql, [id, kind, startMs, used, held]))
}

test('what does not fit is refused with a sentence', async () => {
  await bed.ask(201, 'POST', '/groups', { name: 'prepaid' })
  const cases = [
    [{ ...share, group: 'prepaid' }, 'The group prepaid is paid from balances; set its pays to "subscription" first.'],
    [{ ...share, group: 'none' }, 'group names "none", and there is no such group.'],
    [{ ...share, user: 'none' }, 'user names "none", and there is no such user.'],
    [{ ...share, days: undefined }, 'endsAt takes a time, or days takes a number: one of both.'],
    [{ ...share, endsAt: timeAt(startMs + dayMs) }, 'one of both.'],
    [{ ...share, days: undefined, endsAt: timeAt(startMs) }, 'endsAt is not after startsAt.'],
    [{ ...share, dailyLimit: 1.5 }, 'dailyLimit takes decimal text'],
  ] as const
  for (const [body, message] of cases) expect((await bed.ask(422, 'POST', '/subscriptions', body)).error.message).toContain(message)
  expect(await countRows(bed, 'subscriptions')).toBe(0)
})
