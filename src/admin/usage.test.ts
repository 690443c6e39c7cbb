import { afterAll, beforeAll, expect, test } from 'vitest'
import { newId } from '../lib/id.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type CallRow, callSteps, noUsage } from '../usage/record.ts'
import { type AdminBed, openAdminBed, startMs } from './admin.fixture.ts'

let bed: AdminBed
let ids: { readonly user: string; readonly key: string; readonly group: string; readonly account: string }
const calls: string[] = []

beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
  const group = await bed.ask(201, 'POST', '/groups', { name: 'default' })
  const account = await bed.ask(201, 'POST', '/accounts', { name: 'a1', groups: ['default'], baseUrl: 'https://example.com', apiKey: 'k' })
  const user = await bed.ask(201, 'POST', '/users', { email: 'dev@example.com' })
  const key = await bed.ask(201, 'POST', '/keys', { user: 'dev@example.com', groups: ['default'], name: 'laptop' })
  ids = { user: user.id, key: key.id, group: group.id, account: account.id }
  for (let n = 0; n < 3; n++) calls.unshift(await addCall(startMs + n * 1000))
})
afterAll(() => bed[Symbol.asyncDispose]())

async function addCall(atMs: number, change: Partial<CallRow> = {}): Promise<string> {
  const id = newId(atMs)
  const row: CallRow = {
    ...{ id, userId: ids.user, keyId: ids.key, groupId: ids.group, accountId: ids.account, path: '/v1/responses', stream: true },
    ...{ requestedModel: 'sim', servedModel: 'sim', tier: 'default', priceId: 'p', status: 200, ended: 'completed', fault: null },
    ...{
      basis: 'reported',
      usage: { ...noUsage, inputTokens: 12, outputTokens: 3 },
      held: 2_000_000n,
      cost: 54_000n,
      uncollectedWhy: null,
      attempts: 2,
    },
    ...{ lineMs: 0, firstTokenMs: 12, durationMs: 30, address: '127.0.0.1', userAgent: 'test', instructionsAdded: false },
    ...{ outputLoweredTo: null, repaired: null, upstreamRequestId: null, beganAtMs: atMs },
    ...change,
  }
  const attempt = { callId: id, model: 'sim', beganAtMs: atMs, firstEventMs: null, durationMs: 5, upstreamRequestId: null }
  await bed.commit(
    callSteps(row, [
      { ...attempt, number: 1, accountId: 'gone', status: 500, fault: 'server_error', answered: false },
      { ...attempt, number: 2, accountId: ids.account, status: 200, fault: null, answered: true },
    ]),
  )
  return id
}

const idsOf = async (query: string) => (await bed.ask(200, 'GET', `/usage${query}`)).items.map(call => call.id)

test('calls are listed newest first, with names for people and money as text', async () => {
  expect(await idsOf('')).toEqual(calls)
  const { items } = await bed.ask(200, 'GET', '/usage?limit=1')
  expect(items[0]).toMatchObject({
    ...{ user: 'dev@example.com', key: ids.key, keyName: 'laptop', group: 'default', account: 'a1', attempts: 2 },
    ...{ inputTokens: 12, outputTokens: 3, cost: '0.000054', held: '0.002', uncollected: expect.any(String), basis: 'reported' },
    ...{ beganAt: '2026-10-01T12:00:02.000Z', status: 200, servedModel: 'sim' },
  })
})

test('they are listed by whom, where and when', async () => {
  const cases = [
    ['?user=dev@example.com', calls],
    [`?key=${ids.key}`, calls],
    ['?account=a1&user=dev@example.com', calls],
    ['?since=2026-10-01T12:00:01Z', calls.slice(0, 2)],
    ['?until=2026-10-01T12:00:01Z', calls.slice(2)],
    ['?since=2026-10-01T14:00:01%2B02:00&until=2026-10-01T12:00:02Z', calls.slice(1, 2)],
    ['?fault=line_full', []],
  ] as const
  for (const [query, expected] of cases) expect([query, await idsOf(query)]).toEqual([query, expected])
  expect((await bed.ask(404, 'GET', '/usage?user=nobody')).error.message).toBe('There is no user "nobody".')
  await bed.ask(400, 'GET', '/usage?since=yesterday')
})

test('pages meet without a gap', async () => {
  const first = await bed.ask(200, 'GET', '/usage?limit=2')
  expect(first.items.map(call => call.id)).toEqual(calls.slice(0, 2))
  expect(await idsOf(`?limit=2&cursor=${first.next}`)).toEqual(calls.slice(2))
})

test('a receipt has every attempt', async () => {
  const receipt = await bed.ask(200, 'GET', `/usage/${calls[0]}`)
  expect(receipt).toMatchObject({
    ...{ id: calls[0], user: 'dev@example.com', account: 'a1', cost: '0.000054' },
    attempts: [
      { number: 1, account: 'gone', status: 500, fault: 'server_error', answered: false },
      { number: 2, account: 'a1', status: 200, answered: true, beganAt: '2026-10-01T12:00:02.000Z' },
    ],
  })
  await bed.ask(404, 'GET', '/usage/none')
})

test('a removed key leaves its id on its calls, and a user who made calls stays', async () => {
  await bed.ask(200, 'DELETE', `/keys/${ids.key}`)
  expect(await bed.ask(200, 'GET', `/usage/${calls[0]}`)).toMatchObject({ key: ids.key, keyName: null })
  expect((await bed.ask(409, 'DELETE', '/users/dev@example.com')).error.message).toContain('because calls refer to it')
  expect((await bed.ask(409, 'DELETE', '/accounts/a1')).error.message).toContain('because calls, attempts refer to it')
  await bed.ask(200, 'PATCH', '/accounts/a1', { groups: [] })
  expect((await bed.ask(409, 'DELETE', '/groups/default')).error.message).toContain('because calls refer to it')
})
