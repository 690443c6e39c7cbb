import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { runningSubscription } from '../directory/principals.ts'
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
    ...{ dailyLimit: '5.00', weeklyLimit: '20.00', monthlyLimit: null },
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
  expect(await bed.ask(200, 'DELETE', `/subscriptions/${running.id}`)).toEqual({ ...running, endsAt: timeAt(startMs + dayMs) })
  expect(await bed.ask(200, 'POST', `/subscriptions/${future.id}/end`)).toEqual({ ...future, endsAt: future.startsAt })
  for (const { id } of [running, future]) await bed.ask(409, 'DELETE', `/subscriptions/${id}`)
  await bed.ask(404, 'DELETE', '/subscriptions/none')
  await bed.ask(201, 'POST', '/subscriptions', share)
})

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
