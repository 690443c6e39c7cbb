import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { isLive, type Principal } from '../directory/principals.ts'
import { hashOf } from '../directory/secrets.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, countRows, openAdminBed } from './admin.fixture.ts'

let bed: AdminBed
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
})
afterAll(() => bed[Symbol.asyncDispose]())
beforeEach(async () => {
  for (const name of ['first', 'second']) await bed.ask(201, 'POST', '/groups', { name })
  await bed.ask(201, 'POST', '/users', { email: 'dev@example.com' })
})
afterEach(() => bed.empty())

const laptop = { user: 'Dev@Example.com', groups: ['second', 'first'], name: 'laptop' }

async function principal(secret: string): Promise<Principal> {
  const found = await bed.directory.principalOf(secret)
  if (found === 'unknown') throw new Error('The key is unknown.')
  return found
}

test('a secret is told once, and only its hash is kept', async () => {
  const made = await bed.ask(201, 'POST', '/keys', laptop)
  expect(made.key).toMatch(/^sk-hg-[\w-]{43}$/)
  expect(made).toMatchObject({
    user: 'dev@example.com',
    name: 'laptop',
    groups: ['second', 'first'],
    hint: `${made.key.slice(0, 10)}…${made.key.slice(-4)}`,
  })
  const { key, ...shown } = made
  expect(await bed.ask(200, 'GET', `/keys/${made.id}`)).toEqual(shown)
  expect(await bed.ask(200, 'GET', '/keys')).toEqual({ items: [shown], next: null })
  expect(await bed.filesHave(key)).toBe(false)
  expect(await bed.filesHave(hashOf(key))).toBe(true)
  expect(bed.log.join()).not.toContain(key)
})

test('a key proves who its user is, with its groups in order', async () => {
  const { key } = await bed.ask(201, 'POST', '/keys', {
    ...laptop,
    concurrency: 2,
    expiresAt: '2027-01-01T00:00:00Z',
    allowAddresses: ['10.0.0.0/8'],
  })
  const found = await principal(key)
  expect(found).toMatchObject({ user: { email: 'dev@example.com' }, key: { concurrency: 2, allowAddresses: ['10.0.0.0/8'] } })
  expect(found.groups.map(group => group.name)).toEqual(['second', 'first'])
  expect(isLive(found, Date.UTC(2026, 11, 31))).toBe(true)
  expect(isLive(found, Date.UTC(2027, 0, 1))).toBe(false)
})

test('a removed key is unknown at once', async () => {
  const { id, key } = await bed.ask(201, 'POST', '/keys', laptop)
  await principal(key)
  expect(await bed.ask(200, 'DELETE', `/keys/${id}`)).toEqual({ removed: id })
  expect(await bed.directory.principalOf(key)).toBe('unknown')
  await bed.ask(404, 'DELETE', `/keys/${id}`)
  expect(await countRows(bed, 'key_groups')).toBe(0)
})

test('a disabled key, or one of a disabled user, is not live at once', async () => {
  const { id, key } = await bed.ask(201, 'POST', '/keys', laptop)
  const live = async () => isLive(await principal(key), bed.clock.nowMs())
  expect(await live()).toBe(true)
  for (const [path, disabled] of [
    [`/keys/${id}`, true],
    [`/keys/${id}`, false],
    ['/users/dev@example.com', true],
  ] as const) {
    await bed.ask(200, 'PATCH', path, { disabled })
    expect(await live()).toBe(!disabled)
  }
})

test('a change touches what it names; the secret stays', async () => {
  const { id, key } = await bed.ask(201, 'POST', '/keys', laptop)
  await principal(key)
  const changed = await bed.ask(200, 'PATCH', `/keys/${id}`, { name: 'desk', groups: ['first'], expiresAt: '2027-01-01T00:00:00Z' })
  expect(changed).toMatchObject({ name: 'desk', groups: ['first'], expiresAt: '2027-01-01T00:00:00.000Z' })
  expect(await bed.ask(200, 'GET', `/keys/${id}`)).toEqual(changed)
  expect((await principal(key)).groups.map(group => group.name)).toEqual(['first'])
  expect(await bed.ask(200, 'PATCH', `/keys/${id}`, { expiresAt: null })).toMatchObject({ name: 'desk', expiresAt: null })
})

test('the keys of one user can be listed alone, in pages', async () => {
  await bed.ask(201, 'POST', '/users', { email: 'other@example.com' })
  for (const [user, name] of [
    ['dev@example.com', 'a'],
    ['other@example.com', 'b'],
    ['dev@example.com', 'c'],
  ]) {
    bed.clock.advance(1)
    await bed.ask(201, 'POST', '/keys', { user, groups: ['first'], name })
  }
  const first = await bed.ask(200, 'GET', '/keys?user=dev@example.com&limit=1')
  expect(first.items.map(key => key.name)).toEqual(['a'])
  const second = await bed.ask(200, 'GET', `/keys?user=dev@example.com&limit=1&cursor=${first.next}`)
  expect(second.items.map(key => key.name)).toEqual(['c'])
  expect(second.next).toBe(null)
  await bed.ask(404, 'GET', '/keys?user=nobody@example.com')
})

test('what does not fit is refused with a sentence, and nothing is made', async () => {
  const cases = [
    [{ ...laptop, user: 'nobody@example.com' }, 'user names "nobody@example.com", and there is no such user.'],
    [{ ...laptop, groups: ['third'] }, 'groups[0] names the group "third", which does not exist; there are first, second.'],
    [{ ...laptop, groups: [] }, 'groups may not be empty.'],
    [{ ...laptop, denyAddresses: ['10.0.0'] }, '"10.0.0" is neither an address nor a range'],
    [{ ...laptop, expiresAt: 'tomorrow' }, 'expiresAt takes a time such as 2026-01-31T12:00:00Z.'],
    [{ ...laptop, secret: 'mine' }, 'a key has no secret; it has user, groups, name'],
  ] as const
  for (const [body, message] of cases) expect((await bed.ask(422, 'POST', '/keys', body)).error.message).toContain(message)
  expect(await countRows(bed, 'keys')).toBe(0)
  await bed.ask(201, 'POST', '/keys', laptop)
  expect((await bed.ask(409, 'POST', '/keys', laptop)).error.message).toBe('This user has a key named "laptop" already.')
  expect(await countRows(bed, 'keys')).toBe(1)
})
