import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, countRows, openAdminBed } from './admin.fixture.ts'

let bed: AdminBed
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
})
afterAll(() => bed[Symbol.asyncDispose]())
afterEach(() => bed.empty())

test('a user is made with a wallet, and found by any spelling of the address', async () => {
  const made = await bed.ask(201, 'POST', '/users', { email: 'Dev@Example.com' })
  const rest = { concurrency: 5, requestsPerMinute: null, tokensPerMinute: null, disabled: false, createdAt: '2026-10-01T12:00:00.000Z' }
  expect(made).toEqual({ id: expect.any(String), email: 'dev@example.com', ...rest })
  for (const ref of ['dev@example.com', 'DEV@example.com', made.id]) expect(await bed.ask(200, 'GET', `/users/${ref}`)).toEqual(made)
  expect(await bed.ask(200, 'GET', '/users')).toEqual({ items: [made], next: null })
  expect(await bed.ask(200, 'GET', '/wallets/dev@example.com')).toEqual({
    user: 'dev@example.com',
    balance: '0.00',
    held: '0.00',
    free: '0.00',
  })
  expect((await bed.ask(409, 'POST', '/users', { email: 'DEV@example.com' })).error.message).toBe(
    'There is a user dev@example.com already.',
  )
  expect((await bed.ask(422, 'POST', '/users', { email: 'dev' })).error.message).toBe(
    'email takes an e-mail address such as dev@example.com.',
  )
  expect(await countRows(bed, 'wallets')).toBe(1)
})

test('a change touches what it names, and takes nobody else’s address', async () => {
  const made = await bed.ask(201, 'POST', '/users', { email: 'a@example.com', requestsPerMinute: 60 })
  await bed.ask(201, 'POST', '/users', { email: 'b@example.com' })
  const changed = { ...made, email: 'c@example.com', concurrency: 0 }
  expect(await bed.ask(200, 'PATCH', '/users/a@example.com', { email: 'c@example.com', concurrency: 0 })).toEqual(changed)
  expect(await bed.ask(200, 'GET', `/users/${made.id}`)).toEqual(changed)
  expect((await bed.ask(409, 'PATCH', '/users/c@example.com', { email: 'b@example.com' })).error.message).toContain(
    'another user has this address',
  )
  expect(await bed.ask(200, 'PATCH', '/users/c@example.com', { requestsPerMinute: null })).toMatchObject({ requestsPerMinute: null })
  await bed.ask(404, 'PATCH', '/users/a@example.com', {})
})

test('a user of whom the books know something cannot be removed, any other can, wallet and all', async () => {
  await bed.ask(201, 'POST', '/groups', { name: 'default' })
  await bed.ask(201, 'POST', '/users', { email: 'a@example.com' })
  const { id } = await bed.ask(201, 'POST', '/keys', { user: 'a@example.com', groups: ['default'], name: 'k' })
  expect((await bed.ask(409, 'DELETE', '/users/a@example.com')).error.message).toBe(
    'The user a@example.com cannot be removed, because keys refer to it. Disable it instead: its keys stop working at once.',
  )
  await bed.ask(200, 'DELETE', `/keys/${id}`)
  await bed.ask(200, 'DELETE', '/users/a@example.com')
  expect([await countRows(bed, 'users'), await countRows(bed, 'wallets')]).toEqual([0, 0])

  await bed.ask(201, 'POST', '/users', { email: 'a@example.com' })
  await bed.ask(200, 'POST', '/wallets/a@example.com/credit', { amount: '1', reason: 'r' })
  await bed.ask(200, 'POST', '/wallets/a@example.com/debit', { amount: '1', reason: 'r' })
  expect((await bed.ask(409, 'DELETE', '/users/a@example.com')).error.message).toContain('because entries of the wallet refer to it')
})

test('a group is changed, and removed when nothing refers to it', async () => {
  const made = await bed.ask(201, 'POST', '/groups', { name: 'default' })
  const handling = { unpriced: 'refuse', onClientLeft: 'drain', firstEventLimitMs: null }
  const defaults = { multiplier: '1', pays: 'balance', ...handling, createdAt: '2026-10-01T12:00:00.000Z' }
  expect(made).toEqual({ id: expect.any(String), name: 'default', ...defaults })
  expect(await bed.ask(200, 'PATCH', '/groups/default', { multiplier: '1.20', unpriced: 'free' })).toEqual({
    ...made,
    multiplier: '1.20',
    unpriced: 'free',
  })
  expect(bed.directory.snapshot().groups.get(made.id)).toMatchObject({ multiplier: { units: 120n, scale: 2 }, unpriced: 'free' })
  await bed.ask(200, 'PATCH', '/groups/default', { name: 'main' })
  expect(bed.directory.snapshot().groupNames.get(made.id)).toBe('main')

  await bed.ask(201, 'POST', '/accounts', { name: 'a1', groups: ['main'], baseUrl: 'https://example.com', apiKey: 'k' })
  expect((await bed.ask(409, 'DELETE', '/groups/main')).error.message).toContain('because accounts refer to it')
  await bed.ask(200, 'PATCH', '/accounts/a1', { groups: [] })
  await bed.ask(200, 'DELETE', `/groups/${made.id}`)
  expect(bed.directory.snapshot().groups.size).toBe(0)
})

test('each write is logged: who, what, to what', async () => {
  await bed.ask(201, 'POST', '/users', { email: 'a@example.com' })
  await bed.ask(200, 'PATCH', '/users/a@example.com', { disabled: true })
  await bed.ask(200, 'DELETE', '/users/a@example.com')
  expect(bed.log.map(line => JSON.parse(line))).toEqual(
    ['made', 'changed', 'removed'].map(what => ({ who: 'admin', what, target: 'user a@example.com' })),
  )
})
