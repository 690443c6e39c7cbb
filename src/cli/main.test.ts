import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Item } from './io.ts'
import { type Around, type Said, said } from './terminal.fixture.ts'

/** A server that writes down what it is asked, and answers what the test says. */
interface Recorder {
  readonly asked: { method: string; path: string; body: unknown; token: string | undefined }[]
  answers: Record<string, { status?: number; body: unknown }>
}

let cwd: string
let server: Server
let recorder: Recorder

beforeEach(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'headgate-cli-'))
  recorder = { asked: [], answers: {} }
  server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const { method = '', url: path = '' } = request
    recorder.asked.push({ method, path, body: text === '' ? undefined : JSON.parse(text), token: request.headers.authorization })
    const { status = 200, body } = recorder.answers[`${method} ${path}`] ?? { body: {} }
    response.writeHead(status, { 'content-type': 'application/json' }).end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
})

afterEach(() => {
  if (server.listening) server.close()
  server.closeAllConnections()
  rmSync(cwd, { recursive: true })
})

const token = 'an-admin-token-of-the-tests'
const now = Date.parse('2026-03-01T12:00:00Z')
const urlOf = () => `http://127.0.0.1:${(server.address() as AddressInfo | null)?.port}`

function headgate(argv: readonly string[], { env = {}, stdin = '' }: Around = {}): Promise<Said> {
  const whereItIs = { HEADGATE_URL: server.listening ? urlOf() : '', HEADGATE_ADMIN_TOKEN: token }
  return said(argv, { env: { ...whereItIs, ...env }, cwd, stdin, nowMs: now })
}

const words = (line: string) => line.split(' ')

const sent: readonly (readonly [string, string, string, unknown])[] = [
  ['group add default --multiplier 1.2 --pays balance', 'POST', '/groups', { name: 'default', multiplier: '1.2', pays: 'balance' }],
  ['group set default --on-client-left abort', 'PATCH', '/groups/default', { onClientLeft: 'abort' }],
  ['group set default --first-event-limit-ms 8000', 'PATCH', '/groups/default', { firstEventLimitMs: 8000 }],
  ['group set default --first-event-limit-ms none', 'PATCH', '/groups/default', { firstEventLimitMs: null }],
  ['group remove a/b', 'DELETE', '/groups/a%2Fb', undefined],
  ['user add dev@example.com --concurrency -1', 'POST', '/users', { email: 'dev@example.com', concurrency: -1 }],
  ['user set dev@example.com --requests-per-minute none', 'PATCH', '/users/dev%40example.com', { requestsPerMinute: null }],
  ['user disable dev@example.com', 'PATCH', '/users/dev%40example.com', { disabled: true }],
  ['key enable k1', 'PATCH', '/keys/k1', { disabled: false }],
  ['key set k1 --group a --group b --expires-at none', 'PATCH', '/keys/k1', { groups: ['a', 'b'], expiresAt: null }],
  ['account set a1 --weight 2', 'PATCH', '/accounts/a1', { weight: 2 }],
  ['account set a1 --organization acme', 'PATCH', '/accounts/a1', { organization: 'acme' }],
  ['account set a1 --organization none', 'PATCH', '/accounts/a1', { organization: null }],
  ['account set a1 --no-allow-private-address', 'PATCH', '/accounts/a1', { allowPrivateAddress: false }],
  [
    'account set a1 --capability stateful=no --capability auth=api-key',
    'PATCH',
    '/accounts/a1',
    { capabilities: { stateful: false, auth: 'api-key' } },
  ],
  ['account rest a1 --minutes 2', 'POST', '/accounts/a1/rest', { minutes: 2 }],
  ['account resume a1', 'POST', '/accounts/a1/resume', undefined],
  ['account rest a1 --why repairs', 'POST', '/accounts/a1/rest', { minutes: 10, why: 'repairs' }],
  ['wallet credit dev@example.com 5.00 --reason gift', 'POST', '/wallets/dev%40example.com/credit', { amount: '5.00', reason: 'gift' }],
  [
    'wallet debit dev@example.com 0.000000001 --reason x',
    'POST',
    '/wallets/dev%40example.com/debit',
    { amount: '0.000000001', reason: 'x' },
  ],
  ['wallet adjust dev@example.com -0.50 --reason x', 'POST', '/wallets/dev%40example.com/adjust', { amount: '-0.50', reason: 'x' }],
  ['wallet refund c1 --reason broken', 'POST', '/usage/c1/refund', { reason: 'broken' }],
  ['wallet refund c1 --usd 0.50 --reason broken', 'POST', '/usage/c1/refund', { reason: 'broken', amount: '0.50' }],
  ['subscription end s1', 'POST', '/subscriptions/s1/end', undefined],
  ['subscription extend s1 --days 30', 'POST', '/subscriptions/s1/extend', { days: 30 }],
  ['subscription extend s1 --until 2027-01-31', 'POST', '/subscriptions/s1/extend', { until: '2027-01-31T00:00:00.000Z' }],
  ['subscription set s1 --daily 5.00 --weekly none', 'PATCH', '/subscriptions/s1', { dailyLimit: '5.00', weeklyLimit: null }],
  ['code void c1', 'POST', '/codes/c1/void', undefined],
  ['code redeem HG-1 --user dev@example.com', 'POST', '/codes/redeem', { code: 'HG-1', user: 'dev@example.com' }],
  [
    'code make --usd 5.00 --count 3 --expires 2027-01-31 --reason gift',
    'POST',
    '/codes',
    { amount: '5.00', count: 3, expiresAt: '2027-01-31T00:00:00.000Z', reason: 'gift' },
  ],
  [
    'code make --group team --days 30 --monthly 9 --reason gift',
    'POST',
    '/codes',
    { group: 'team', days: 30, monthlyLimit: '9', reason: 'gift' },
  ],
]

test.each(sent)('headgate %s', async (line, method, path, body) => {
  const { code, err } = await headgate(words(line))
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(recorder.asked).toEqual([{ method, path: `/admin/v1${path}`, body, token: `Bearer ${token}` }])
})

test('an account is added with its secret from a variable, or from standard input', async () => {
  const line =
    'account add a1 --base-url https://api.example/v1 --group default --model gpt-5=mine --model gpt-5-mini --allow-private-address'
  const body = {
    name: 'a1',
    baseUrl: 'https://api.example/v1',
    groups: ['default'],
    models: { 'gpt-5': 'mine', 'gpt-5-mini': 'gpt-5-mini' },
    allowPrivateAddress: true,
    apiKey: 'sk-upstream',
  }
  await headgate([...words(line), '--api-key-env', 'UPSTREAM_KEY'], { env: { UPSTREAM_KEY: 'sk-upstream' } })
  await headgate([...words(line), '--api-key-stdin'], { stdin: 'sk-upstream\n' })
  expect(recorder.asked.map(({ body }) => body)).toEqual([body, body])
})

test('a new key is shown once, with a sentence that says so', async () => {
  recorder.answers['POST /admin/v1/keys'] = { status: 201, body: { id: 'k1', key: 'sk-hg-abc', name: 'laptop' } }
  const { out } = await headgate(words('key add --user dev@example.com --group default --name laptop'))
  expect(out).toBe('sk-hg-abc\n\nThis is the key "laptop" of dev@example.com. Keep it now: it is shown only this once.\n')
  expect(recorder.asked[0]?.body).toEqual({ user: 'dev@example.com', groups: ['default'], name: 'laptop' })
})

const wrong: readonly (readonly [string, string])[] = [
  ['', 'headgate needs a command after it. It has serve, demo, '],
  ['grup list', 'headgate has no command "grup"; did you mean group?'],
  ['group', 'headgate group needs a command after it. It has add, list, show, set, remove.'],
  ['group lst', 'headgate group has no command "lst"; did you mean list?'],
  ['group add', 'headgate group add needs <name>. As in: headgate group add default --multiplier 1.2'],
  ['group add a b', 'headgate group add takes <name> and nothing more.'],
  ['group add a --multipler 2', 'headgate group add has no option --multipler; did you mean --multiplier?'],
  ['group add a --multiplier', 'headgate group add: --multiplier needs a value after it.'],
  ['group add a --multiplier 1e3', 'headgate group add: --multiplier is "1e3"; it takes a decimal number such as 2.50.'],
  ['group add a --pays cash', 'headgate group add: --pays is "cash"; allowed choices are balance, subscription.'],
  ['group set a', 'There is nothing to change; as in: headgate group set default --on-client-left abort'],
  ['user add a --concurrency many', 'headgate user add: --concurrency is "many"; it takes a whole number.'],
  ['wallet credit a 5.00', 'headgate wallet credit needs --reason <text>.'],
  ['wallet credit a 0 --reason x', 'headgate wallet credit: <usd> is "0"; it takes an amount of USD above 0'],
  ['wallet credit a -5 --reason x', 'headgate wallet credit: <usd> is "-5"; it takes an amount of USD above 0'],
  ['wallet credit a 0.0000000001 --reason x', 'headgate wallet credit: <usd> is "0.0000000001"; it takes an amount of USD above 0'],
  ['subscription extend s1', 'An extension takes --days or --until; as in: headgate subscription extend 0198c0de-… --days 30'],
  ['subscription extend s1 --days 0', 'headgate subscription extend: --days is "0"; it takes a whole number above 0.'],
  ['subscription extend s1 --days 1 --until 2027-01-31', "headgate subscription extend: option '--days <days>' cannot be used with"],
  ['subscription set s1', 'There is nothing to change; as in: headgate subscription set'],
  ['code make --usd 5.00', 'headgate code make needs --reason <text>.'],
  ['code make --usd 5,00 --reason gift', 'headgate code make: --usd is "5,00"; it takes a decimal number such as 2.50.'],
  ['code make --usd 5 --group team --reason gift', "headgate code make: option '--usd <usd>' cannot be used with option '--group <name>'"],
  ['code redeem HG-1', 'headgate code redeem needs --user <email>. As in: headgate code redeem HG-XXXX'],
  ['usage list --since yesterday', 'headgate usage list: --since is "yesterday"; it takes a time such as 24h'],
  ['usage list --since 2026-02-30', 'headgate usage list: --since is "2026-02-30"; it takes a time such as 24h'],
  ['usage list --limit 0', 'headgate usage list: --limit is "0"; it takes a whole number above 0.'],
  ['account add a1 --base-url http://x --api-key-env NOT_SET', 'The variable NOT_SET is not set; --api-key-env takes the name'],
  ['account add a1 --base-url http://x --api-key-stdin', 'Nothing came on standard input; --api-key-stdin reads the key from there.'],
  ['account add a1 --base-url http://x --api-key sk-secret', 'headgate account add has no option --api-key; did you mean --api-key-env?'],
  ['account set a1 --model a=b=c', 'headgate account set: --model is "a=b=c"; it takes a model, or requested=upstream'],
  ['account set a1 --capability fly=yes', 'headgate account set: --capability is "fly=yes"; it takes one of responses,'],
  ['apply', 'headgate apply needs -f, --file <path>. As in: headgate apply -f setup.yaml --dry-run'],
  ['apply -f none.yaml', 'none.yaml cannot be read: there is no such file.'],
  ['reconcile', 'headgate reconcile needs --since <time>. As in: headgate reconcile --since 7d'],
  ['reconcile --since 7d', 'Say where the figures are: either --csv FILE or --invoice URL.'],
  ['reconcile --since 7d --csv none.csv', 'none.csv cannot be read: there is no such file.'],
  ['reconcile --since 7d --csv a --map x=', 'headgate reconcile: --map is "x="; it takes label=account, such as proj_abc=openai.'],
  ['group list --admin-token x', '--admin-token cannot be a flag, because others on this machine can read command lines'],
  ['group list --url', '--url needs a value; it takes an http or https URL'],
  ['group list --listen nowhere', '--listen is "nowhere"; it takes a host and a port'],
]

test.each(wrong)('wrongly asked: headgate %s', async (line, sentence) => {
  const { code, out, err } = await headgate(line === '' ? [] : words(line))
  expect(err.slice(0, sentence.length)).toBe(sentence)
  expect(err.trimEnd()).not.toContain('\n')
  expect({ code, out, asked: recorder.asked }).toEqual({ code: 2, out: '', asked: [] })
})

test('a list is an aligned table, or JSON, and goes over every page', async () => {
  const page = (items: readonly Item[], next: string | null) => ({ body: { items, next } })
  const group = { pays: 'balance', unpriced: 'refuse', onClientLeft: 'drain' }
  recorder.answers['GET /admin/v1/groups?limit=100'] = page([{ name: 'default', multiplier: '1', ...group }], 'c1')
  recorder.answers['GET /admin/v1/groups?limit=100&cursor=c1'] = page([{ name: 'a', multiplier: '1.25', ...group }], null)
  expect((await headgate(['group', 'list'])).out.split('\n')).toEqual([
    'NAME     MULTIPLIER  PAYS BY  UNPRICED  CLIENT LEFT',
    'default           1  balance  refuse    drain',
    'a              1.25  balance  refuse    drain',
    '',
  ])
  expect(JSON.parse((await headgate(['group', 'list', '--json'])).out)).toMatchObject({
    items: [{ name: 'default' }, { name: 'a' }],
    next: null,
  })
})

test('control characters from the gateway do not reach the terminal', async () => {
  recorder.answers['GET /admin/v1/groups/x'] = { body: { name: 'a\u001b[2Jb\nc' } }
  expect((await headgate(['group', 'show', 'x'])).out).toBe('name  a [2Jb c\n')
})

test('nor do characters that turn the order of what stands beside them', async () => {
  recorder.answers['GET /admin/v1/groups/x'] = { body: { name: 'gpt\u202e5.5\u2066-\u200fpro' } }
  const { out } = await headgate(['group', 'show', 'x'])
  expect(out).toContain('gpt 5.5 - pro')
})

test('usage is asked for since a time, and says when there is more', async () => {
  recorder.answers['GET /admin/v1/usage?since=2026-02-28T12%3A00%3A00.000Z&limit=1'] = {
    body: { items: [{ id: 'c1', cost: '0.01' }], next: 'c1' },
  }
  const { out, code } = await headgate(words('usage list --since 24h --limit 1'))
  expect(code).toBe(0)
  expect(out).toContain('There are more; --limit says how many to list')
})

test.each([
  [404, { error: { message: 'There is no group named x.' } }, 1, 'There is no group named x.\n'],
  [400, { error: { message: 'A name has at most 80 letters.' } }, 2, 'A name has at most 80 letters.\n'],
  [500, '<html>', 1, /^The gateway at http:\S+ answered with status 500\.\n$/],
  [
    401,
    { error: { message: 'no' } },
    1,
    /refused the admin token; set HEADGATE_ADMIN_TOKEN, or run this where \S+admin\.token can be read\.\n$/,
  ],
  [200, 'Welcome to nginx', 1, /is not a Headgate gateway; set HEADGATE_URL/],
] as const)('an answer with status %i is one sentence', async (status, body, code, sentence) => {
  recorder.answers['GET /admin/v1/groups/x'] = { status, body }
  const { err, ...rest } = await headgate(['group', 'show', 'x'])
  expect(rest).toEqual({ code, out: '' })
  if (typeof sentence === 'string') expect(err).toBe(sentence)
  else expect(err).toMatch(sentence)
})

test('where no gateway answers, the sentence says how to start one', async () => {
  const url = urlOf()
  await new Promise(resolve => server.close(resolve))
  const { code, err } = await headgate(['status', '--url', url], { env: { HEADGATE_URL: '' } })
  expect({ code, err }).toEqual({ code: 1, err: `No gateway answers at ${url}; start one with \`headgate serve\`, or set HEADGATE_URL.\n` })
})

test('the token is read from the data folder when no variable has it', async () => {
  writeFileSync(join(cwd, 'admin.token'), 'the-saved-admin-token\n')
  await headgate(['group', 'show', 'x', '--data', '.'], { env: { HEADGATE_ADMIN_TOKEN: '' } })
  expect(recorder.asked[0]?.token).toBe('Bearer the-saved-admin-token')
})

test('config show says where each value comes from, and never prints a secret', async () => {
  const secret = 'ab'.repeat(32)
  for (const json of [[], ['--json']]) {
    const { code, out } = await headgate(['config', 'show', '--line-extra', '7', ...json], { env: { HEADGATE_SECRET_KEY: secret } })
    expect(code).toBe(0)
    expect(out).not.toContain(secret)
    expect(out).not.toContain(token)
  }
  const { out } = await headgate(words('config show --line-extra 7'), { env: { HEADGATE_SECRET_KEY: secret } })
  expect(out).toMatch(/^secretKey +set +– +HEADGATE_SECRET_KEY$/m)
  expect(out).toMatch(/^adminToken +set +– +HEADGATE_ADMIN_TOKEN$/m)
  expect(out).toMatch(/^lineExtra +7 +calls +--line-extra$/m)
  expect(out).toMatch(/^stickyWaiting +3 +calls +default$/m)
})

test('the ledger check fails when anything differs, and when nobody said that nothing does', async () => {
  recorder.answers['GET /admin/v1/ledger/check'] = { body: { differences: [] } }
  expect(await headgate(['ledger', 'check'])).toEqual({ code: 0, out: 'The books balance.\n', err: '' })
  recorder.answers['GET /admin/v1/ledger/check'] = { body: { differences: [{ wallet: 'w1', balance: '1.00', entries: '2.00' }] } }
  expect(await headgate(['ledger', 'check'])).toMatchObject({ code: 1, err: 'The books do not balance: 1 difference.\n' })
  recorder.answers['GET /admin/v1/ledger/check'] = { body: {} }
  expect(await headgate(['ledger', 'check'])).toMatchObject({ code: 1, out: '' })
})

test.each(['group', 'account', 'user', 'key', 'wallet', 'price', 'subscription', 'code', 'usage', 'ledger', 'config'])(
  'every verb of %s has help with an example',
  async name => {
    const { out } = await headgate([name, '--help'])
    const verbs = [...out.matchAll(/^ {2}(\w+) \[options\]/gm)].map(match => match[1]!)
    expect(verbs).not.toEqual([])
    for (const verb of verbs) {
      const help = await headgate([name, verb, '--help'])
      expect(help).toMatchObject({ code: 0, err: '' })
      expect(help.out).toMatch(/\nExample:\n.*headgate /)
    }
  },
)
