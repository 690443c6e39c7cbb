import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { calm } from '../coordination/coordinator.ts'
import { defaultCapabilities } from '../directory/entities.ts'
import { step } from '../directory/steps.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, countRows, openAdminBed, startMs } from './admin.fixture.ts'

let bed: AdminBed
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
  await bed.ask(201, 'POST', '/groups', { name: 'default' })
  await bed.ask(201, 'POST', '/groups', { name: 'slow' })
})
afterAll(() => bed[Symbol.asyncDispose]())
afterEach(async () => {
  await bed.commit([step('delete from account_groups', []), step('delete from accounts', [])])
  await bed.directory.refresh()
})

const secret = 'sk-upstream-canary-0123456789'
const a1 = { name: 'a1', groups: ['default'], baseUrl: 'https://api.openai.com/v1/', apiKey: secret }

test('an account is made with the stated defaults, shown by name and by id, and listed', async () => {
  const made = await bed.ask(201, 'POST', '/accounts', a1)
  expect(made).toEqual({
    ...{ id: expect.any(String), name: 'a1', provider: 'openai', baseUrl: 'https://api.openai.com/v1', apiKeyHint: '…6789' },
    ...{ groups: ['default'], concurrency: 10, priority: 50, weight: 1, models: {}, proxy: null, allowPrivateAddress: false },
    capabilities: defaultCapabilities,
    ...{ defaultTier: 'default', requestsPerMinute: null, tokensPerMinute: null, organization: null, disabled: false },
    createdAt: '2026-10-01T12:00:00.000Z',
    condition: { state: 'ok', reason: null, until: null, inFlight: 0, flagged: false },
  })
  expect(await bed.ask(200, 'GET', '/accounts/a1')).toEqual(made)
  expect(await bed.ask(200, 'GET', `/accounts/${made.id}`)).toEqual(made)
  expect(await bed.ask(200, 'GET', '/accounts')).toEqual({ items: [made], next: null })
})

test('its API key reaches the data plane, and is in no answer, log line or file', async () => {
  const made = await bed.ask(201, 'POST', '/accounts', a1)
  expect(bed.directory.snapshot().accounts.get(made.id)?.apiKey).toBe(secret)
  const answers = [made, await bed.ask(200, 'GET', '/accounts'), await bed.ask(200, 'PATCH', '/accounts/a1', { weight: 2 }), bed.log]
  expect(JSON.stringify(answers)).not.toContain('canary')
  expect(await bed.filesHave('canary')).toBe(false)
  expect(await bed.filesHave('a1')).toBe(true)
})

test('a change touches what it names; the key stays, and capabilities are merged', async () => {
  const { id } = await bed.ask(201, 'POST', '/accounts', { ...a1, capabilities: { stateful: false }, models: { gpt: 'gpt-5' } })
  const changed = await bed.ask(200, 'PATCH', '/accounts/a1', {
    groups: ['slow', 'default'],
    concurrency: 0,
    capabilities: { auth: 'api-key' },
  })
  expect(changed).toMatchObject({ concurrency: 0, models: { gpt: 'gpt-5' }, capabilities: { stateful: false, auth: 'api-key' } })
  expect(await bed.ask(200, 'GET', '/accounts/a1')).toEqual({ ...changed, groups: ['default', 'slow'] })
  const { accounts, accountsOf, groups } = bed.directory.snapshot()
  expect(accounts.get(id)).toMatchObject({ apiKey: secret, concurrency: 0 })
  for (const group of groups.keys()) expect(accountsOf(group).map(account => account.id)).toEqual([id])
  await bed.ask(200, 'PATCH', '/accounts/a1', { name: 'b1', groups: [], apiKey: 'sk-another-key-0123456789-zzzz' })
  expect(await bed.ask(200, 'GET', '/accounts/b1')).toMatchObject({ id, groups: [], apiKeyHint: '…zzzz' })
  expect(await bed.ask(404, 'GET', '/accounts/a1')).toMatchObject({ error: { code: 'not_found', message: 'There is no account "a1".' } })
})

describe('where an account may be', () => {
  const cases = [
    ['https://api.openai.com/v1', {}, undefined],
    ['http://api.openai.com/v1', {}, 'must begin with https://'],
    ['https://10.0.0.1/v1', {}, 'is at the private address 10.0.0.1; set allowPrivateAddress to true'],
    ['https://0x7f.1/v1', {}, 'is at the private address 127.0.0.1'],
    ['https://[::1]/v1', {}, 'is at the private address ::1'],
    ['https://localhost/v1', {}, 'is at the private address localhost'],
    ['http://127.0.0.1:9090/v1', { allowPrivateAddress: true }, undefined],
    ['https://user:pw@api.openai.com', {}, 'may not have a name or password'],
    ['https://api.openai.com/v1?key=1', {}, 'may not have a query'],
    ['https://api.openai.com/v1#x', {}, 'may not have a query or a fragment'],
    ['ftp://api.openai.com', {}, 'takes a URL such as'],
    ['api.openai.com', {}, 'takes a URL such as'],
  ] as const
  for (const [baseUrl, more, problem] of cases) {
    test(`${baseUrl} ${problem ?? 'is accepted'}`, async () => {
      const answer = await bed.ask(problem === undefined ? 201 : 422, 'POST', '/accounts', { ...a1, baseUrl, ...more })
      if (problem === undefined) return expect(answer.baseUrl).toBe(baseUrl)
      expect(answer.error).toMatchObject({ path: ['baseUrl'], message: expect.stringContaining(problem) })
    })
  }

  test('a change may not lead it to a private address either, nor take the leave for one away', async () => {
    await bed.ask(201, 'POST', '/accounts', a1)
    await bed.ask(422, 'PATCH', '/accounts/a1', { baseUrl: 'http://127.0.0.1:1/v1' })
    await bed.ask(200, 'PATCH', '/accounts/a1', { baseUrl: 'http://127.0.0.1:1/v1', allowPrivateAddress: true })
    await bed.ask(422, 'PATCH', '/accounts/a1', { allowPrivateAddress: false })
  })
})

test('what does not fit is refused with a sentence', async () => {
  const { groups: _, apiKey: __, ...bare } = a1
  expect((await bed.ask(422, 'POST', '/accounts', bare)).error.message).toBe('apiKey is missing; a new account needs one.')
  const unknown = await bed.ask(422, 'POST', '/accounts', { ...a1, groups: ['default', 'fast'] })
  expect(unknown.error.message).toBe('groups[1] names the group "fast", which does not exist; there are default, slow.')
  expect(unknown.error.path).toEqual(['groups', 1])
  expect((await bed.ask(422, 'POST', '/accounts', { ...a1, proxy: 'http://u:p@proxy:1' })).error.message).toContain('kept unencrypted')
  await bed.ask(201, 'POST', '/accounts', a1)
  expect((await bed.ask(409, 'POST', '/accounts', a1)).error.message).toBe('There is an account a1 already.')
  await bed.ask(201, 'POST', '/accounts', { ...a1, name: 'a2' })
  expect((await bed.ask(409, 'PATCH', '/accounts/a2', { name: 'a1' })).error.message).toContain('another account has this name')
  expect(await countRows(bed, 'accounts')).toBe(2)
})

test('an account that calls refer to cannot be removed, any other can', async () => {
  const { id } = await bed.ask(201, 'POST', '/accounts', a1)
  const attempt = `insert into attempts (call_id, number, account_id, model, began_at, duration_ms, answered) values ('c', 1, $1, 'm', 0, 0, 0)`
  await bed.commit([step(attempt, [id])])
  const { error } = await bed.ask(409, 'DELETE', '/accounts/a1')
  expect(error.message).toBe(
    'The account a1 cannot be removed, because attempts refer to it. Disable it instead: it finishes what it runs.',
  )
  await bed.commit([step('delete from attempts', [])])
  expect(await bed.ask(200, 'DELETE', '/accounts/a1')).toEqual({ removed: id })
  expect(bed.directory.snapshot().accounts.size).toBe(0)
  expect(await countRows(bed, 'account_groups')).toBe(0)
})

describe('how an account fares', () => {
  const untilMs = startMs + 60_000
  const until = '2026-10-01T12:01:00.000Z'
  const cases = [
    [{ taken: 3 }, { state: 'ok', inFlight: 3 }],
    [
      { restingUntilMs: untilMs, restingWhy: 'rate limited (429)' },
      { state: 'resting', reason: 'rate limited (429)', until },
    ],
    [
      { restingUntilMs: startMs, restingWhy: 'over' },
      { state: 'ok', reason: null, until: null },
    ],
    [
      { outSinceMs: 1, probeAtMs: untilMs, restingWhy: null },
      { state: 'out', reason: 'its quota is used up', until },
    ],
    [
      { circuitSinceMs: 1, probeAtMs: untilMs, restingWhy: 'failing (reset)' },
      { state: 'circuit open', reason: 'failing (reset)', until },
    ],
    [{ flagged: true }, { state: 'ok', flagged: true }],
    [{ modelRests: { 'gpt-5': untilMs, old: 1 } }, { state: 'ok', reason: 'it said that it does not have gpt-5' }],
  ] as const
  for (const [condition, shown] of cases) {
    test(`${JSON.stringify(condition)} is shown as ${shown.state}`, async () => {
      const { id } = await bed.ask(201, 'POST', '/accounts', a1)
      bed.conditions.set(id, { ...calm, ...condition })
      expect(await bed.ask(200, 'GET', '/accounts/a1')).toMatchObject({ condition: shown })
      expect(await bed.ask(200, 'GET', '/status')).toMatchObject({
        version: '1.2.3',
        nodes: [{ id: 'n1' }],
        accounts: [{ name: 'a1', ...shown }],
      })
    })
  }

  test('a disabled one is shown as disabled', async () => {
    await bed.ask(201, 'POST', '/accounts', { ...a1, disabled: true })
    expect(await bed.ask(200, 'GET', '/accounts/a1')).toMatchObject({ condition: { state: 'disabled' } })
  })
})

test('an account rests for minutes or until a time, and is brought back', async () => {
  await bed.ask(201, 'POST', '/accounts', a1)
  const rests = [
    [{ minutes: 30, why: 'invoice' }, '2026-10-01T12:30:00.000Z', 'invoice'],
    [{ until: '2026-10-01T15:00:00+02:00' }, '2026-10-01T13:00:00.000Z', 'an operator let it rest'],
    [undefined, '2026-10-01T12:10:00.000Z', 'an operator let it rest'],
  ] as const
  for (const [body, until, reason] of rests) {
    expect(await bed.ask(200, 'POST', '/accounts/a1/rest', body)).toMatchObject({ condition: { state: 'resting', until, reason } })
    expect(await bed.ask(200, 'POST', '/accounts/a1/resume')).toMatchObject({ condition: { state: 'ok' } })
  }
  await bed.ask(422, 'POST', '/accounts/a1/rest', { until: '2026-10-01T11:00:00Z' })
  await bed.ask(404, 'POST', '/accounts/nobody/rest', {})
})

test('a test is made with the real credential, and with the model that is asked for', async () => {
  await bed.ask(201, 'POST', '/accounts', a1)
  expect(await bed.ask(200, 'POST', '/accounts/a1/test')).toEqual({
    ok: true,
    status: 200,
    model: null,
    message: 'It answers.',
    durationMs: 3,
  })
  await bed.ask(200, 'POST', '/accounts/a1/test', { model: 'gpt-5' })
  expect(bed.tested.map(({ account, model }) => [account.apiKey, model])).toEqual([
    [secret, undefined],
    [secret, 'gpt-5'],
  ])
})
