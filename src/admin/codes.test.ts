import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { hashOfCode } from '../directory/code-secret.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, type Answer, countRows, openAdminBed, token } from './admin.fixture.ts'

let bed: AdminBed
let startMs = 0
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
})
afterAll(() => bed[Symbol.asyncDispose]())
beforeEach(async () => {
  startMs = bed.clock.nowMs()
  await bed.ask(201, 'POST', '/groups', { name: 'team', pays: 'subscription' })
  for (const email of [dev, 'other@example.com']) await bed.ask(201, 'POST', '/users', { email })
})
/** Whatever was done, the books balance. */
afterEach(async () => {
  expect(await bed.ledger.check()).toEqual([])
  await bed.empty()
})

const dayMs = 86_400_000
const dev = 'dev@example.com'
const credit = { amount: '5', reason: 'a course' }
const share = { group: 'team', days: 30, reason: 'a course' }
const timeAt = (ms: number) => new Date(ms).toISOString()

/** One code as it was made; `code` is what a person types. */
async function madeOne(said: object): Promise<Answer & { readonly code: string }> {
  const { items } = await bed.ask(201, 'POST', '/codes', said)
  return items[0] as Answer & { readonly code: string }
}

const redeem = (code: string, status = 200, user = dev) => bed.ask(status, 'POST', '/codes/redeem', { code, user })
const balance = async (user = dev) => (await bed.ask(200, 'GET', `/wallets/${user}`)).balance
const subscriptions = async () => (await bed.ask(200, 'GET', `/subscriptions?user=${dev}`)).items

test('codes are told once, and only their hashes are kept', async () => {
  const { items } = await bed.ask(201, 'POST', '/codes', { ...credit, count: 3 })
  const secrets = items.map(({ code }) => String(code))
  expect(new Set(secrets).size).toBe(3)
  const shown = items.map(({ code: _, ...rest }) => rest)
  expect(await bed.ask(200, 'GET', '/codes')).toEqual({ items: shown, next: null })
  const nothing = { group: null, days: null, dailyLimit: null, weeklyLimit: null, monthlyLimit: null, voidedAt: null }
  const unredeemed = { redeemedBy: null, redeemedAt: null, entry: null, subscription: null }
  const said = { amount: '5.00', reason: 'a course', author: 'admin', madeAt: timeAt(startMs), expiresAt: null }
  const hint = `HG-…${secrets[0]!.slice(-4)}`
  expect(shown[0]).toEqual({ id: items[0]!.id, hint, state: 'open', ...nothing, ...unredeemed, ...said })
  await redeem(secrets[0]!)
  for (const secret of secrets) {
    expect(await bed.filesHave(secret)).toBe(false)
    expect(await bed.filesHave(secret.replaceAll('-', ''))).toBe(false)
    expect(await bed.filesHave(hashOfCode(secret)!)).toBe(true)
    expect(bed.log.join()).not.toContain(secret.slice(8, 20))
  }
})

test('a code for credit gives it, with an entry that says why', async () => {
  const { id, code } = await madeOne(credit)
  const { wallet, subscription, code: redeemed } = await redeem(code.toLowerCase().replaceAll('-', ''))
  expect({ wallet, subscription }).toEqual({ wallet: { user: dev, balance: '5.00', held: '0.00', free: '5.00' }, subscription: null })
  const { items } = await bed.ask(200, 'GET', `/wallets/${dev}/entries`)
  expect(items).toMatchObject([{ kind: 'redeem', amount: '5.00', reference: id, reason: 'a course', author: 'admin' }])
  expect(redeemed).toMatchObject({
    state: 'redeemed',
    redeemedBy: dev,
    redeemedAt: timeAt(startMs),
    entry: items[0]!.id,
    subscription: null,
  })
  expect((await bed.ask(200, 'GET', '/codes')).items).toEqual([])
  expect((await bed.ask(200, 'GET', '/codes?all=true')).items).toEqual([redeemed])
})

describe('a code that cannot be redeemed is refused in words, and gives nothing:', () => {
  test('an unknown one, which is not said back', async () => {
    for (const typed of ['HG-0000-0000-0000-0000-0000', 'what my friend told me']) {
      const { error } = await redeem(typed, 404)
      expect(error.message).toBe('There is no such code; a code looks like HG-XXXX-XXXX-XXXX-XXXX-XXXX.')
    }
  })

  test('a used one, for the same user or another', async () => {
    const { code } = await madeOne(credit)
    await redeem(code)
    for (const user of [dev, 'other@example.com'])
      expect((await redeem(code, 409, user)).error.message).toBe('This code was redeemed before; a code is good once.')
    expect(await balance()).toBe('5.00')
    expect(await balance('other@example.com')).toBe('0.00')
  })

  test('a void one, which cannot be void twice or once it was redeemed', async () => {
    const [first, second] = [await madeOne(credit), await madeOne(credit)]
    expect(await bed.ask(200, 'POST', `/codes/${first.id}/void`)).toMatchObject({ state: 'void', voidedAt: timeAt(startMs) })
    expect((await redeem(first.code, 409)).error.message).toBe('This code was made void.')
    await redeem(second.code)
    for (const { id } of [first, second])
      expect((await bed.ask(409, 'POST', `/codes/${id}/void`)).error.message).toBe('This code was redeemed or made void already.')
    await bed.ask(404, 'POST', '/codes/none/void')
    expect(await balance()).toBe('5.00')
  })

  test('an expired one, from its very moment', async () => {
    const codes = [
      await madeOne({ ...credit, expiresAt: timeAt(startMs + dayMs) }),
      await madeOne({ ...credit, expiresAt: timeAt(startMs + dayMs) }),
    ]
    bed.clock.advance(dayMs - 1)
    await redeem(codes[0]!.code)
    bed.clock.advance(1)
    expect((await redeem(codes[1]!.code, 409)).error.message).toBe(`This code expired at ${timeAt(startMs + dayMs)}.`)
    const { items } = await bed.ask(200, 'GET', '/codes?all=true')
    expect(items.map(({ state }) => state)).toEqual(['redeemed', 'expired'])
    expect((await bed.ask(200, 'GET', '/codes')).items).toEqual([])
    expect(await balance()).toBe('5.00')
  })

  test('one whose group is paid from balances by now: the code stays good', async () => {
    const { code } = await madeOne(share)
    await bed.ask(200, 'PATCH', '/groups/team', { pays: 'balance' })
    expect((await redeem(code, 409)).error.message).toContain('is paid from balances now')
    await bed.ask(200, 'PATCH', '/groups/team', { pays: 'subscription' })
    await redeem(code)
  })
})

describe('a code for a subscription', () => {
  const limits = { dailyLimit: '1', weeklyLimit: '5', monthlyLimit: null }

  test('begins one now when there is none, which the data plane sees at once', async () => {
    const { key } = await bed.ask(201, 'POST', '/keys', { user: dev, groups: ['team'], name: 'k' })
    await bed.directory.principalOf(key)
    const { code } = await madeOne({ ...share, ...limits })
    const { subscription, wallet, code: redeemed } = await redeem(code)
    const span = { startsAt: timeAt(startMs), endsAt: timeAt(startMs + 30 * dayMs) }
    expect(subscription).toMatchObject({ user: dev, group: 'team', state: 'running', ...span, dailyLimit: '1.00', weeklyLimit: '5.00' })
    expect(wallet).toBe(null)
    expect(redeemed).toMatchObject({ subscription: (await subscriptions())[0]!.id, entry: null })
    expect(await bed.directory.principalOf(key)).toMatchObject({ subscriptions: [{ startsAtMs: startMs }] })
    expect(await countRows(bed, 'entries')).toBe(0)
  })

  test('extends the last one by its days when the limits are the same, and so does every further one', async () => {
    const running = await bed.ask(201, 'POST', '/subscriptions', { user: dev, group: 'team', days: 10, ...limits })
    const coming = await bed.ask(201, 'POST', '/subscriptions', {
      ...{ user: dev, group: 'team', days: 10 },
      ...limits,
      startsAt: timeAt(startMs + 20 * dayMs),
    })
    for (const days of [60, 90]) {
      const { subscription } = await redeem((await madeOne({ ...share, ...limits })).code)
      expect(subscription).toEqual({ ...coming, endsAt: timeAt(startMs + days * dayMs) })
    }
    expect((await subscriptions())[0]).toEqual(running)
  })

  test('begins a new one after the last one when any limit differs', async () => {
    let endsAt = timeAt(startMs + 30 * dayMs)
    await bed.ask(201, 'POST', '/subscriptions', { user: dev, group: 'team', days: 30, ...limits })
    for (const other of [{ dailyLimit: '2' }, { weeklyLimit: null }, { monthlyLimit: '9' }, {}]) {
      const { subscription } = await redeem((await madeOne({ ...share, ...limits, ...other })).code)
      expect(subscription).toMatchObject({ state: 'coming', startsAt: endsAt })
      endsAt = String(Object(subscription).endsAt)
    }
    expect((await subscriptions()).length).toBe(5)
  })

  test('takes no notice of what has ended, of another group or of another user', async () => {
    await bed.ask(201, 'POST', '/groups', { name: 'second', pays: 'subscription' })
    await bed.ask(201, 'POST', '/subscriptions', { user: dev, group: 'second', days: 300 })
    await bed.ask(201, 'POST', '/subscriptions', { user: 'other@example.com', group: 'team', days: 300 })
    await bed.ask(201, 'POST', '/subscriptions', { user: dev, group: 'team', days: 1 })
    const never = await bed.ask(201, 'POST', '/subscriptions', {
      user: dev,
      group: 'team',
      days: 1,
      startsAt: timeAt(startMs + 90 * dayMs),
    })
    await bed.ask(200, 'POST', `/subscriptions/${never.id}/end`)
    bed.clock.advance(dayMs)
    const { subscription } = await redeem((await madeOne(share)).code)
    expect(subscription).toMatchObject({ state: 'running', startsAt: timeAt(startMs + dayMs), endsAt: timeAt(startMs + 31 * dayMs) })
  })

  test('keeps its group from being removed', async () => {
    await madeOne(share)
    expect((await bed.ask(409, 'DELETE', '/groups/team')).error.message).toContain('because codes refer to it')
  })
})

describe('at once, through HTTP', () => {
  test('one code, fifty times: one redemption', async () => {
    await using server = await listen()
    const { code } = await madeOne(credit)
    const statuses = await Promise.all(Array.from({ length: 50 }, () => server.post('/codes/redeem', { code, user: dev })))
    expect(statuses.toSorted()).toEqual([200, ...Array.from({ length: 49 }, () => 409)])
    expect(await balance()).toBe('5.00')
  })

  test('two codes for the same user and group: two extensions', async () => {
    await using server = await listen()
    const codes = [await madeOne(share), await madeOne(share)]
    await Promise.all(codes.map(({ code }) => server.post('/codes/redeem', { code, user: dev })))
    expect(await subscriptions()).toMatchObject([{ startsAt: timeAt(startMs), endsAt: timeAt(startMs + 60 * dayMs) }])
  })

  test('twenty extensions of one day: twenty days, whatever else is asked of it', async () => {
    await using server = await listen()
    const { id } = await bed.ask(201, 'POST', '/subscriptions', { user: dev, group: 'team', days: 1 })
    const extensions = Array.from({ length: 20 }, () => server.post(`/subscriptions/${id}/extend`, { days: 1 }))
    const assigned = Array.from({ length: 5 }, () => server.post('/subscriptions', { user: dev, group: 'team', days: 30 }))
    expect(await Promise.all(extensions)).toEqual(extensions.map(() => 200))
    expect(await Promise.all(assigned)).toEqual(assigned.map(() => 409))
    expect(await subscriptions()).toMatchObject([{ id, endsAt: timeAt(startMs + 21 * dayMs) }])
  })
})

test('what does not fit is refused with a sentence, and nothing is made', async () => {
  await bed.ask(201, 'POST', '/groups', { name: 'prepaid' })
  const cases = [
    [{ reason: 'r' }, 'amount takes USD, or group and days say a subscription: one of both.'],
    [{ ...credit, ...share }, 'one of both.'],
    [{ ...credit, days: 3 }, 'days is said of a subscription, together with its group.'],
    [{ ...share, days: undefined }, 'days is said of a subscription, together with its group.'],
    [{ ...credit, dailyLimit: '1' }, 'dailyLimit is said of a subscription; credit lasts until it is spent.'],
    [{ ...credit, amount: '0' }, 'amount is 0; a code gives more than 0.'],
    [{ ...credit, amount: 1.5 }, 'amount takes decimal text'],
    [{ ...credit, reason: ' ' }, 'reason may not be empty.'],
    [{ ...credit, count: 1001 }, 'count may be at most 1000.'],
    [{ ...credit, expiresAt: timeAt(startMs) }, 'expiresAt is in the past'],
    [{ ...share, group: 'none' }, 'group names "none", and there is no such group.'],
    [{ ...share, group: 'prepaid' }, 'The group prepaid is paid from balances; set its pays to "subscription" first.'],
  ] as const
  for (const [body, message] of cases) expect((await bed.ask(422, 'POST', '/codes', body)).error.message).toContain(message)
  expect(await countRows(bed, 'codes')).toBe(0)
  const { code } = await madeOne(credit)
  expect((await redeem(code, 422, 'nobody')).error.message).toBe('user names "nobody", and there is no such user.')
  await redeem(code)
})

/** The admin API on a socket; each answer's status. */
async function listen() {
  const server = createServer(getRequestListener(request => bed.fetch(request)))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/admin/v1`
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  return {
    async post(path: string, body: object): Promise<number> {
      const answer = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) })
      await answer.arrayBuffer()
      return answer.status
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
