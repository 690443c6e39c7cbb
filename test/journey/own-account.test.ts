import { expect, test } from 'vitest'
import { makeSubscription } from '../../src/directory/subscriptions.ts'
import { formatUsd, parseDecimal } from '../../src/ledger/money.ts'
import { type Database, statement } from '../../src/storage/database.ts'
import { type Answer, type Json, openStream, refusalOf, send, type Target } from '../client.ts'
import { openWorld, until } from '../world.ts'

/** What a key may ask about itself: GET /v1/credits and GET /v1/usage. */

const dayMs = 86_400_000
const holdsStatement = statement('select amount from holds')
const ask = (target: Target, path: string, more: object = {}) => send(target, { method: 'GET', path, ...more })
const dataOf = ({ json }: Answer) => json['data'] as readonly Json[]
const idsOf = (answer: Answer) => dataOf(answer).map(({ id }) => id)

test('credits are the balance, what is held of it, and what is free', async () => {
  await using world = await openWorld({ balance: '5' })
  const { status, headers, json } = await ask(world, '/v1/credits')
  expect({ status, type: headers['content-type'] }).toEqual({ status: 200, type: 'application/json' })
  expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
  expect(json).toEqual({ object: 'credits', currency: 'usd', balance: '5.00', held: '0.00', free: '5.00', subscriptions: [] })

  world.sim.script({}, { hold: 'running' })
  const call = send(world, { body: { model: 'sim', input: 'x', max_output_tokens: 100 } })
  await world.sim.gate('running').reached()
  const { balance, held } = await world.balance()
  expect(held).toBeGreaterThan(0n)
  expect((await ask(world, '/v1/credits')).json).toMatchObject({ held: formatUsd(held), free: formatUsd(balance - held) })
  world.sim.open('running')
  await call
  const [row] = await world.rows()
  expect((await ask(world, '/v1/credits')).json).toMatchObject({ balance: formatUsd(balance - (row!.cost as bigint)), held: '0.00' })
  await world.quiet()
})

test('each window of a subscription says what is used, held and left, and when it begins anew', async () => {
  await using world = await openWorld({ group: { pays: 'subscription' }, balance: '0' })
  const startsAtMs = Math.floor(Date.now() / 1000) * 1000 - dayMs / 2
  const terms = { startsAtMs, endsAtMs: startsAtMs + 365 * dayMs, dailyLimit: 1_000_000_000n, weeklyLimit: null, monthlyLimit: 1_000n }
  await world.commit(makeSubscription({ userId: world.user.id, groupId: world.group.id, ...terms }, Date.now()).steps)
  const windows = async () => ((await ask(world, '/v1/credits')).json['subscriptions'] as Json[]).map(({ windows: all }) => all)
  expect(await windows()).toEqual([
    [
      { window: 'daily', limit: '1.00', used: '0.00', held: '0.00', left: '1.00', resets_at: (startsAtMs + dayMs) / 1000 },
      { window: 'weekly', limit: null, used: '0.00', held: '0.00', left: null, resets_at: (startsAtMs + 7 * dayMs) / 1000 },
      { window: 'monthly', limit: '0.000001', used: '0.00', held: '0.00', left: '0.000001', resets_at: (startsAtMs + 30 * dayMs) / 1000 },
    ],
  ])
  await world.quiet()
})

test('what is used of a window stands there after a call, and what is held while it runs', async () => {
  await using world = await openWorld({ group: { pays: 'subscription' }, balance: '0' })
  const startsAtMs = Date.now() - dayMs / 2
  const terms = { startsAtMs, endsAtMs: startsAtMs + dayMs, dailyLimit: 1_000_000_000n, weeklyLimit: null, monthlyLimit: null }
  await world.commit(makeSubscription({ userId: world.user.id, groupId: world.group.id, ...terms }, Date.now()).steps)
  const daily = async () => ((await ask(world, '/v1/credits')).json['subscriptions'] as { windows: Json[] }[])[0]!.windows[0]
  world.sim.script({}, { hold: 'running' })
  const call = send(world, { body: { model: 'sim', input: 'x', max_output_tokens: 100 } })
  await world.sim.gate('running').reached()
  const [{ amount }] = (await world.database.report(holdsStatement)) as [{ amount: bigint }]
  expect(await daily()).toMatchObject({ used: '0.00', held: formatUsd(amount), left: formatUsd(1_000_000_000n - amount) })
  world.sim.open('running')
  await call
  const cost = (await world.rows())[0]!.cost as bigint
  expect(await daily()).toMatchObject({ used: formatUsd(cost), held: '0.00', left: formatUsd(1_000_000_000n - cost) })
  await world.quiet()
})

test('usage is the calls of this key; of its user when asked; of nobody else ever', async () => {
  await using world = await openWorld()
  const mine = { url: world.url, key: world.key }
  const myOther = { url: world.url, key: (await world.addKey(world.user, { groupIds: [world.group.id] })).secret }
  const stranger = await world.addUser({ email: 'stranger@example.com' }, '5')
  const theirs = { url: world.url, key: (await world.addKey(stranger, { groupIds: [world.group.id] })).secret }
  const ids: string[] = []
  for (const target of [mine, theirs, myOther, mine]) ids.push(String((await send(target)).headers['x-request-id']))
  const [first, foreign, other, last] = ids
  const cases: readonly (readonly [Target, string, readonly (string | undefined)[]])[] = [
    [mine, '/v1/usage', [last, first]],
    [mine, '/v1/usage?scope=key', [last, first]],
    [mine, '/v1/usage?scope=user', [last, other, first]],
    [myOther, '/v1/usage', [other]],
    [myOther, '/v1/usage?scope=user', [last, other, first]],
    [theirs, '/v1/usage', [foreign]],
    [theirs, '/v1/usage?scope=user', [foreign]],
    [theirs, `/v1/usage?scope=user&after=${last}`, [foreign]],
    [theirs, `/v1/usage?after=${foreign}`, []],
  ]
  for (const [target, path, expected] of cases) expect([path, idsOf(await ask(target, path))]).toEqual([path, expected])
  const sums = (await ask(theirs, '/v1/usage?scope=user&sums=true')).json['sums'] as Json[]
  expect(sums.map(({ days, calls }) => [days, calls])).toEqual([1, 7, 30].map(days => [days, 1]))
  await world.quiet()
})

test('a call is told with its tokens and its cost, and nothing of the account or the name that it was served under', async () => {
  await using world = await openWorld({
    accounts: [{ name: 'hidden-account', models: { fast: 'sim' } }],
    group: { multiplier: parseDecimal('1.5') },
  })
  const answer = await send(world, { body: { model: 'fast', input: 'hello' } })
  const asked = await ask(world, '/v1/usage?sums=true')
  const [row] = await world.rows()
  const cost = formatUsd(row!.cost as bigint)
  expect(dataOf(asked)).toEqual([
    {
      ...{ object: 'usage.call', id: answer.headers['x-request-id'], began_at: Math.floor(Number(row!.began_at) / 1000) },
      ...{ key_id: row!.key_id, path: '/v1/responses', model: 'fast', stream: false, status: 200, ended: 'completed', fault: null },
      ...{ input_tokens: Number(row!.input_tokens), cached_tokens: 0, output_tokens: Number(row!.output_tokens), reasoning_tokens: 0 },
      ...{ cost, uncollected: '0.00', basis: 'reported', duration_ms: Number(row!.duration_ms) },
    },
  ])
  const sum = { calls: 1, input_tokens: Number(row!.input_tokens), cached_tokens: 0, output_tokens: Number(row!.output_tokens) }
  expect(asked.json['sums']).toEqual([1, 7, 30].map(days => ({ days, ...sum, cost, uncollected: '0.00' })))
  for (const secret of [world.accounts[0]!.name, world.accounts[0]!.id, '"sim"']) expect(asked.body).not.toContain(secret)
  await world.quiet()
})

test('pages meet without a gap, and say when there is more', async () => {
  await using world = await openWorld({ user: { concurrency: 0 } })
  for (let n = 0; n < 5; n++) await send(world)
  const all = idsOf(await ask(world, '/v1/usage'))
  expect(all).toHaveLength(5)
  const seen: unknown[] = []
  const more: unknown[] = []
  for (let after = ''; more.at(-1) !== false; ) {
    const page = await ask(world, `/v1/usage?limit=2${after}`)
    seen.push(...idsOf(page))
    more.push(page.json['has_more'])
    expect([page.json['first_id'], page.json['last_id']]).toEqual([idsOf(page)[0], idsOf(page).at(-1)])
    after = `&after=${page.json['last_id']}`
  }
  expect(seen).toEqual(all)
  expect(more).toEqual([true, true, false])
  const beganAt = (await world.rows()).map(row => new Date(Number(row.began_at)).toISOString())
  expect(idsOf(await ask(world, `/v1/usage?since=${beganAt[3]}`))).toEqual(all.slice(0, 2))
  expect(idsOf(await ask(world, `/v1/usage?until=${beganAt[3]}`))).toEqual(all.slice(2))
  expect((await ask(world, '/v1/usage?until=1')).json).toEqual({ object: 'list', data: [], first_id: null, last_id: null, has_more: false })
  await world.quiet()
})

const invalid = { status: 400, type: 'invalid_request_error', code: null, param: null, retry: 'never' }
const wrongly: readonly (readonly [string, string])[] = [
  ['limit=0', 'limit is "0"; it takes a whole number from 1 to 100'],
  ['limit=101', 'limit is "101"; it takes a whole number from 1 to 100'],
  ['limit=2&limit=3', 'limit stands there twice; it is said once'],
  ['scope=all', 'scope is "all"; it takes key or user'],
  ['after=x', 'after is "x"; it takes the last_id of the page before'],
  ['since=yesterday', 'since is "yesterday"; it takes seconds since 1970, or a time such as 2026-01-31T12:00:00Z'],
  ['sums=1', 'sums is "1"; it takes true or false'],
  ['user_id=u', 'user_id is not known; there are after, limit, scope, since, sums, until'],
]

test('a query that is wrong is told what would be right', async () => {
  await using world = await openWorld()
  for (const [query, sentence] of wrongly) {
    const refusal = refusalOf(await ask(world, `/v1/usage?${query}`))
    expect(refusal).toEqual({ ...invalid, message: `The query parameter ${sentence}` })
  }
})

const unknownKey = { ...invalid, status: 401, type: 'authentication_error', code: 'invalid_api_key', message: 'Invalid API key' }
const paths = ['/v1/credits', '/v1/usage']

test.each(paths)('%s asks who asks, as any call does', async path => {
  await using world = await openWorld()
  const refused = async (asked: object) => refusalOf(await ask(world, path, asked))
  expect(await refused({ key: null })).toEqual(unknownKey)
  expect(await refused({ key: 'sk-hg-unknown' })).toEqual(unknownKey)
  const denied = await world.addKey(world.user, { groupIds: [world.group.id], denyAddresses: ['127.0.0.1'] })
  expect(await refused({ key: denied.secret })).toEqual({ ...invalid, status: 403, type: 'permission_error', message: 'Access denied' })
  expect(refusalOf(await ask(world, `${path}?api_key=${world.key}`)).message).toBe('API key must not be sent in the query string')
  expect((await ask(world, path, { key: null, headers: { 'x-api-key': world.key } })).status).toBe(200)
  const disabled = await world.addKey(world.user, { groupIds: [world.group.id], disabled: true })
  expect(await refused({ key: disabled.secret })).toEqual(unknownKey)

  const posted = refusalOf(await send(world, { path }))
  expect(posted).toMatchObject({ status: 405, code: 'method_not_supported', message: `Not allowed to POST on ${path}` })
  const head = await send(world, { method: 'HEAD', path })
  expect({ status: head.status, body: head.body }).toEqual({ status: 200, body: '' })
  expect(head.headers['content-length']).toBe(String((await ask(world, path)).bytes.length))
  expect(await world.rows()).toEqual([])
  expect(world.sim.attempts).toEqual([])
  await world.quiet()
})

test('while the books are away the answer is 503, and never that the key is bad', async () => {
  let isAway = false
  const unless = (read: Database['read']): Database['read'] => (isAway ? () => Promise.reject(new Error('away')) : read)
  const wrapDatabase = (database: Database): Database => ({
    ...database,
    read: (...asked) => unless(database.read)(...asked),
    report: (...asked) => unless(database.report)(...asked),
  })
  await using world = await openWorld({ adapters: { wrapDatabase } })
  expect((await ask(world, '/v1/credits')).status).toBe(200)
  isAway = true
  for (const path of paths)
    expect(refusalOf(await ask(world, path))).toMatchObject({ status: 503, code: 'billing_unavailable', retry: 'later' })
  isAway = false
})

test('a thousand polls that the reports do not answer delay no call, and all of them write nothing', async () => {
  const stuck = Promise.withResolvers<void>()
  let reports = 0
  let commits = 0
  const wrapDatabase = (database: Database): Database => ({
    ...database,
    async report(asked, values) {
      if (!asked.sql.includes('from calls where')) return database.report(asked, values)
      reports++
      await stuck.promise
      return database.report(asked, values)
    },
    commit(steps, durability) {
      if (!steps.some(({ statement }) => statement.sql.includes('leases'))) commits++
      return database.commit(steps, durability)
    },
  })
  await using world = await openWorld({ adapters: { wrapDatabase }, settings: { booksTimeoutMs: 60_000 } })
  await ask(world, '/v1/credits')
  commits = 0
  const polls = Array.from({ length: 1_000 }, () => ask(world, '/v1/usage'))
  await until(() => reports === 1_000, 'not every poll came to the reports')
  const credits = Array.from({ length: 1_000 }, () => ask(world, '/v1/credits'))
  expect(commits).toBe(0)
  await using stream = openStream(world)
  expect((await stream.rest()).at(-1)?.type).toBe('response.completed')
  expect((await credits[999])?.status).toBe(200)
  expect((await world.database.report(holdsStatement)).length).toBe(1)
  stuck.resolve()
  for (const poll of polls) expect((await poll).status).toBe(200)
  for (const poll of credits) expect((await poll).status).toBe(200)
  await world.quiet()
})
