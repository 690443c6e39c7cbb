import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readRevision } from '../directory/revision.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, type Answer, openAdminBed, token } from './admin.fixture.ts'

let bed: AdminBed
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
})
afterAll(() => bed[Symbol.asyncDispose]())

function send(path: string, init: RequestInit = {}, presented = `Bearer ${token}`): Promise<Response> {
  return bed.fetch(new Request(`http://headgate/admin/v1${path}`, { ...init, headers: { authorization: presented, ...init.headers } }))
}

async function told(response: Response): Promise<Answer['error']> {
  return ((await response.json()) as Answer).error
}

describe('the admin token', () => {
  for (const presented of ['', 'Bearer', 'Bearer wrong', `Bearer ${token}x`, `Basic ${token}`, token]) {
    test(`"${presented}" is refused with 401, whatever is asked for`, async () => {
      for (const path of ['/groups', '/openapi.json', '/nothing']) {
        const response = await send(path, {}, presented)
        expect(response.status).toBe(401)
        expect(response.headers.get('www-authenticate')).toMatch(/^Bearer/)
        expect((await told(response)).code).toBe('unauthorized')
      }
    })
  }

  test('the right one is let in, however "bearer" is written', async () => {
    expect((await send('/groups')).status).toBe(200)
    expect((await send('/groups', {}, `bearer ${token}`)).status).toBe(200)
  })
})

test('an unknown path is told where the known ones are', async () => {
  const response = await send('/gruops')
  expect(response.status).toBe(404)
  expect((await told(response)).message).toContain('There is no GET /admin/v1/gruops; GET /admin/v1/openapi.json')
})

describe('bodies that cannot be used', () => {
  const json = { 'content-type': 'application/json' }
  const cases = [
    ['no JSON', { body: '{', headers: json }, 400, 'not JSON'],
    ['another content type', { body: 'name=a', headers: { 'content-type': 'text/plain' } }, 415, 'application/json'],
    ['a list', { body: '[]', headers: json }, 422, 'The body takes an object, not a list.'],
    ['nothing said', { body: '{}', headers: json }, 422, 'name is missing.'],
    ['an unknown field', { body: '{"name":"a","color":1}', headers: json }, 422, 'a group has no color; it has name, multiplier, pays'],
    ['a word that is none', { body: '{"name":"a","pays":"cash"}', headers: json }, 422, 'pays takes "balance" or "subscription".'],
    ['a float', { body: '{"name":"a","multiplier":1.5}', headers: json }, 422, 'multiplier takes decimal text: write "1.5", in quotes.'],
    ['no number', { body: '{"name":"a","multiplier":"1,5"}', headers: json }, 422, 'is not a decimal number such as "2.50"'],
    ['less than nothing', { body: '{"name":"a","multiplier":"-1"}', headers: json }, 422, 'multiplier is -1; it takes 0 or more.'],
    ['a bad name', { body: '{"name":"A b"}', headers: json }, 422, 'name takes 1 to 63 small letters'],
  ] as const
  for (const [what, init, status, message] of cases) {
    test(`${what}: ${status}, and nothing is made`, async () => {
      const response = await send('/groups', { method: 'POST', ...init })
      expect([response.status, (await told(response)).message]).toEqual([status, expect.stringContaining(message)])
      expect((await bed.ask(200, 'GET', '/groups')).items).toEqual([])
    })
  }

  test('several problems are all told, each with its path', async () => {
    const { error } = await bed.ask(422, 'POST', '/groups', { name: '', multiplier: 1.5, x: 1 })
    expect(error.problems.map(one => one.path)).toEqual([['name'], ['multiplier'], []])
    expect(error.path).toEqual(['name'])
  })

  test('a query with an unknown name is refused too', async () => {
    const { error } = await bed.ask(400, 'GET', '/groups?limt=5')
    expect(error.message).toContain('a list has no limt; it has limit, cursor')
  })
})

test('the OpenAPI document describes every route and has no secret in it', async () => {
  const document = await bed.ask(200, 'GET', '/openapi.json')
  expect(document.openapi).toBe('3.1.0')
  expect(Object.keys(Object(document.paths)).sort()).toEqual(
    [
      ...['/accounts', '/accounts/{ref}', '/accounts/{ref}/rest', '/accounts/{ref}/resume', '/accounts/{ref}/test', '/apply'],
      ...['/groups', '/groups/{ref}', '/keys', '/keys/{id}', '/ledger/check', '/prices', '/prices/end', '/reconcile', '/status'],
      ...['/prices/proposal', '/prices/proposal/accept'],
      ...['/subscriptions', '/subscriptions/{id}', '/subscriptions/{id}/end', '/subscriptions/{id}/extend'],
      ...['/codes', '/codes/redeem', '/codes/{id}/void', '/usage', '/usage/{id}', '/usage/{id}/refund'],
      ...['/users', '/users/{ref}', '/wallets/{ref}/adjust'],
      ...['/wallets/{ref}', '/wallets/{ref}/credit', '/wallets/{ref}/debit', '/wallets/{ref}/entries'],
    ]
      .map(path => `/admin/v1${path}`)
      .sort(),
  )
  const groupBody = { additionalProperties: false, required: ['name'], properties: { pays: { default: 'balance' } } }
  expect(document).toMatchObject({
    components: { schemas: { Account: { properties: { apiKeyHint: {} } } } },
    paths: {
      '/admin/v1/groups': { post: { requestBody: { content: { 'application/json': { schema: groupBody } } } } },
      '/admin/v1/accounts/{ref}': { delete: { responses: { 409: {} } } },
    },
  })
  expect(document).not.toMatchObject({ components: { schemas: { Account: { properties: { apiKey: {} } } } } })
})

test('a list is given in pages, each entry once', async () => {
  await using pages = await openAdminBed(openSqlite)
  const names = Array.from({ length: 7 }, (_, n) => `g${n}`)
  for (const name of names) {
    await pages.ask(201, 'POST', '/groups', { name })
    pages.clock.advance(1)
  }
  const seen: unknown[] = []
  let cursor: string | null = ''
  for (let turn = 0; cursor !== null; turn++) {
    expect(turn).toBeLessThan(4)
    const page = await pages.ask(200, 'GET', `/groups?limit=3${cursor && `&cursor=${cursor}`}`)
    expect(page.items.length).toBeLessThanOrEqual(3)
    seen.push(...page.items.map(item => item.name))
    cursor = page.next
  }
  expect(seen).toEqual(names)
})

test('writes at the same time do not undo each other', async () => {
  await using busy = await openAdminBed(openSqlite)
  await busy.ask(201, 'POST', '/users', { email: 'dev@example.com' })
  const changes = [{ concurrency: 9 }, { requestsPerMinute: 60 }, { tokensPerMinute: 1000 }, { disabled: true }]
  await Promise.all(changes.map(change => busy.ask(200, 'PATCH', '/users/dev@example.com', change)))
  expect(await busy.ask(200, 'GET', '/users/dev@example.com')).toMatchObject(Object.assign({}, ...changes))
})

test('books that are away are a 503 that says so', async () => {
  const gone = await openAdminBed(openSqlite)
  await gone.database.close()
  const { error } = await gone.ask(503, 'GET', '/groups')
  expect(error.code).toBe('books_away')
})

test('each change moves the directory’s revision, by which other gateways hear of it; one that is refused does not', async () => {
  const moved = async (act: () => Promise<unknown>) => {
    const before = await readRevision(bed.database.read)
    await act()
    return (await readRevision(bed.database.read)) - before
  }
  const email = 'moved@example.com'
  expect(await moved(() => bed.ask(201, 'POST', '/groups', { name: 'moved', pays: 'subscription' }))).toBe(1n)
  expect(await moved(() => bed.ask(201, 'POST', '/users', { email }))).toBe(1n)
  expect(await moved(() => bed.ask(409, 'POST', '/users', { email }))).toBe(0n)
  const { id } = await bed.ask(201, 'POST', '/keys', { user: email, groups: ['moved'], name: 'k' })
  expect(await moved(() => bed.ask(200, 'PATCH', `/keys/${id}`, { disabled: true }))).toBe(1n)
  expect(await moved(() => bed.ask(200, 'DELETE', `/keys/${id}`))).toBe(1n)
  const { items } = await bed.ask(201, 'POST', '/codes', { group: 'moved', days: 30, reason: 'a course' })
  expect(await moved(() => bed.ask(200, 'POST', '/codes/redeem', { code: items[0]!['code'], user: email }))).toBe(1n)
  expect(await moved(() => bed.ask(200, 'GET', '/keys'))).toBe(0n)
})
