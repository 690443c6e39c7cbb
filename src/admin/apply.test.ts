import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { step } from '../directory/steps.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, type Answer, countRows, openAdminBed } from './admin.fixture.ts'

let bed: AdminBed
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
})
afterEach(() => bed.empty())
afterAll(() => bed[Symbol.asyncDispose]())

/** The example of the specification, after the command line has put the key in. */
const setup = {
  groups: [{ name: 'default', multiplier: '1', pays: 'balance', unpriced: 'refuse', onClientLeft: 'drain', firstEventLimitMs: null }],
  accounts: [
    {
      ...{ name: 'a1', groups: ['default'], provider: 'openai', baseUrl: 'http://127.0.0.1:9090/v1', apiKey: 'sk-upstream-0123456789' },
      ...{ concurrency: 10, priority: 50, weight: 1, models: {}, allowPrivateAddress: true },
    },
  ],
  users: [{ email: 'dev@example.com', concurrency: 5 }],
  prices: [{ model: 'sim', input: '2', cached: '0.2', cacheWrite: '2.5', output: '10' }],
}

async function apply(body: object, status = 200): Promise<Answer> {
  return bed.ask(status, 'POST', '/apply', body)
}

/** "made group default", one a line. */
function told({ changes }: Answer): string[] {
  return changes.map(({ action, kind, name }) => `${action} ${kind} ${name}`)
}

async function rows(): Promise<number[]> {
  return Promise.all(['groups', 'accounts', 'account_groups', 'users', 'wallets', 'prices'].map(table => countRows(bed, table)))
}

test('a setup is made whole, and a second time changes nothing', async () => {
  expect(told(await apply({ setup }))).toEqual(['made group default', 'made account a1', 'made user dev@example.com', 'made price sim'])
  expect(await rows()).toEqual([1, 1, 1, 1, 1, 1])
  const { accounts, accountsOf, groups, priceBook } = bed.directory.snapshot()
  const [account] = [...accounts.values()]
  expect(account).toMatchObject({ name: 'a1', apiKey: 'sk-upstream-0123456789' })
  expect(accountsOf([...groups.keys()][0]!)).toEqual([account])
  expect(priceBook.resolve('sim', bed.clock.nowMs())).toBe('sim')

  bed.clock.advance(1000)
  expect((await apply({ setup, prune: true })).changes.map(({ action }) => action)).toEqual(Array(4).fill('unchanged'))
  expect(await rows()).toEqual([1, 1, 1, 1, 1, 1])
})

test('a changed setup changes what differs, field by field, and gives a price a new version', async () => {
  await apply({ setup })
  const { apiKey: _, ...a1 } = setup.accounts[0]!
  const changed = {
    groups: [{ name: 'default', multiplier: '1.5' }, { name: 'slow' }],
    accounts: [{ ...a1, groups: ['slow', 'default'], weight: 3, capabilities: { stateful: false } }],
    prices: [{ model: 'sim', input: '2', cached: '0.2', cacheWrite: '2.5', output: '12' }],
  }
  bed.clock.advance(1000)
  const dry = await apply({ setup: changed, dryRun: true })
  expect(await rows()).toEqual([1, 1, 1, 1, 1, 1])
  const answer = await apply({ setup: changed })
  expect(answer).toEqual(dry)
  expect(answer.changes).toMatchObject([
    { kind: 'group', name: 'default', action: 'changed', fields: { multiplier: { from: '1', to: '1.5' } } },
    { kind: 'group', name: 'slow', action: 'made' },
    {
      ...{ kind: 'account', name: 'a1', action: 'changed' },
      fields: {
        weight: { from: 1, to: 3 },
        groups: { from: ['default'], to: ['default', 'slow'] },
        capabilities: { to: { stateful: false } },
      },
    },
    { kind: 'price', name: 'sim', action: 'changed', fields: { output: { from: '10.00', to: '12.00' } } },
  ])
  expect(await rows()).toEqual([2, 1, 2, 1, 1, 2])
  expect([...bed.directory.snapshot().accounts.values()]).toMatchObject([{ apiKey: 'sk-upstream-0123456789', weight: 3 }])
})

test('a changed API key is told by its end only', async () => {
  await apply({ setup })
  const answer = await apply({ setup: { accounts: [{ ...setup.accounts[0], apiKey: 'sk-upstream-canary-zzzz' }] } })
  expect(answer.changes[0]).toMatchObject({ action: 'changed', fields: { apiKey: { from: '…6789', to: '…zzzz' } } })
  expect(JSON.stringify([answer, bed.log])).not.toContain('canary')
})

describe('one wrong entry, and nothing changes', () => {
  const a2 = { name: 'a2', groups: ['default'], baseUrl: 'https://example.com', apiKey: 'k' }
  const cases = [
    [
      'an unknown group',
      { accounts: [a2, { ...a2, name: 'a3', groups: ['none'] }] },
      ['setup', 'accounts', 1, 'groups', 0],
      'names the group "none"',
    ],
    [
      'a new account without a key',
      { accounts: [{ ...a2, apiKey: undefined }] },
      ['setup', 'accounts', 0, 'apiKey'],
      'a2 is a new account, which needs one',
    ],
    [
      'a private address',
      { accounts: [{ ...a2, baseUrl: 'https://10.1.1.1' }] },
      ['setup', 'accounts', 0, 'baseUrl'],
      'private address 10.1.1.1',
    ],
    ['the same name twice', { groups: [{ name: 'x' }, { name: 'x' }] }, ['setup', 'groups', 1, 'name'], 'is the same as in groups[0]'],
    [
      'an unknown field',
      { users: [{ email: 'new@example.com', concurency: 1 }] },
      ['setup', 'users', 0],
      'a user has no concurency; it has email, concurrency',
    ],
    ['an unknown section', { keys: [] }, ['setup'], 'a setup has no keys; it has groups, accounts, users, prices'],
    [
      'a price of a name that has one',
      { prices: [{ model: 'x', input: 1, output: 1, aliases: ['sim'] }] },
      ['setup', 'prices', 0, 'aliases', 0],
      'price of its own',
    ],
  ] as const
  for (const [what, wrong, path, message] of cases) {
    test(what, async () => {
      await apply({ setup })
      const before = await rows()
      const { error } = await apply(
        { setup: { groups: [{ name: 'default', multiplier: '9' }], users: [{ email: 'new@example.com' }], ...wrong } },
        422,
      )
      expect(error).toMatchObject({ path, message: expect.stringContaining(message) })
      expect(await rows()).toEqual(before)
      expect([...bed.directory.snapshot().groups.values()]).toMatchObject([{ multiplier: { units: 1n } }])
    })
  }

  test('what the books refuse at the last moment takes everything with it', async () => {
    // A price that somebody else set after this apply had read the books: only its guard can see it.
    await bed.commit([step('create trigger meanwhile before insert on prices begin select raise(ignore); end', [])])
    const { error } = await apply({ setup }, 409)
    await bed.commit([step('drop trigger meanwhile', [])])
    expect(error.message).toBe('Somebody else changed the price book meanwhile; look at it and try again.')
    expect(await rows()).toEqual([0, 0, 0, 0, 0, 0])
    expect(bed.log).toEqual([])
  })
})

describe('prune', () => {
  test('without it, what the setup does not name stays', async () => {
    await apply({ setup })
    expect(told(await apply({ setup: { groups: [], accounts: [], users: [], prices: [] } }))).toEqual([])
    expect(await rows()).toEqual([1, 1, 1, 1, 1, 1])
  })

  test('removes what nothing refers to, and ends prices', async () => {
    await apply({ setup })
    const none = { groups: [], accounts: [], users: [], prices: [] }
    const removed = ['removed account a1', 'removed group default', 'removed user dev@example.com', 'removed price sim']
    expect(told(await apply({ setup: none, prune: true, dryRun: true }))).toEqual(removed)
    expect(await rows()).toEqual([1, 1, 1, 1, 1, 1])
    expect(told(await apply({ setup: none, prune: true }))).toEqual(removed)
    expect(await rows()).toEqual([0, 0, 0, 0, 0, 1])
    expect((await bed.ask(200, 'GET', '/prices')).items).toEqual([])
  })

  test('disables what the books refer to, and empties such a group', async () => {
    await apply({ setup })
    const { items } = await bed.ask(200, 'GET', '/accounts')
    await bed.ask(201, 'POST', '/keys', { user: 'dev@example.com', groups: ['default'], name: 'k' })
    await bed.commit([
      step(`insert into attempts (call_id, number, account_id, model, began_at, duration_ms, answered) values ('c', 1, $1, 'm', 0, 0, 0)`, [
        items[0]!.id,
      ]),
    ])
    const answer = await apply({ setup: { groups: [], accounts: [], users: [] }, prune: true })
    expect(answer.changes).toEqual([
      { kind: 'account', name: 'a1', action: 'changed', fields: { disabled: { from: false, to: true } } },
      { kind: 'group', name: 'default', action: 'changed', fields: { accounts: { from: ['a1'], to: [] } } },
      { kind: 'user', name: 'dev@example.com', action: 'changed', fields: { disabled: { from: false, to: true } } },
    ])
    expect(await rows()).toEqual([1, 1, 0, 1, 1, 1])
    expect(told(await apply({ setup: { groups: [], accounts: [], users: [] }, prune: true }))).toEqual([
      'unchanged account a1',
      'unchanged group default',
      'unchanged user dev@example.com',
    ])
    await bed.ask(200, 'GET', '/users/dev@example.com').then(user => expect(user.disabled).toBe(true))
  })

  test('leaves sections alone that the setup does not have', async () => {
    await apply({ setup })
    expect(told(await apply({ setup: { users: [] }, prune: true }))).toEqual(['removed user dev@example.com'])
    expect(await rows()).toEqual([1, 1, 1, 0, 0, 1])
  })

  test('refuses an account in a group that it would remove', async () => {
    await apply({ setup })
    const { error } = await apply({ setup: { ...setup, groups: [{ name: 'other' }] }, prune: true }, 422)
    expect(error.message).toBe('setup.accounts[0].groups[0] names the group "default", which does not exist; there are other.')
  })

  test('brings a thing back only when the setup says so: what was disabled by hand stays disabled', async () => {
    await apply({ setup })
    await bed.ask(201, 'POST', '/keys', { user: 'dev@example.com', groups: ['default'], name: 'k' })
    await apply({ setup: { users: [] }, prune: true })
    expect(told(await apply({ setup }))).toContain('unchanged user dev@example.com')
    expect(await bed.ask(200, 'GET', '/users/dev@example.com')).toMatchObject({ disabled: true })
    const enabling = { ...setup, users: [{ email: 'dev@example.com', concurrency: 5, disabled: false }] }
    expect(told(await apply({ setup: enabling }))).toContain('changed user dev@example.com')
    expect(await bed.ask(200, 'GET', '/users/dev@example.com')).toMatchObject({ disabled: false })
  })
})
