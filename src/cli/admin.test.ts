import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type AdminBed, openAdminBed, startMs, token } from '../admin/admin.fixture.ts'
import { heldCall, settledRowStep } from '../ledger/books.fixture.ts'
import { formatUsd, parseUsd } from '../ledger/money.ts'
import { settleSteps } from '../ledger/steps.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { callSteps, noUsage } from '../usage/record.ts'
import { said } from './terminal.fixture.ts'

/** The commands one after the other against the real admin API on real books, as an operator gives them on the first day. */
let bed: AdminBed
let server: Server
let cwd: string

beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
  cwd = mkdtempSync(join(tmpdir(), 'headgate-operator-'))
  const listener = getRequestListener(request => bed.fetch(request))
  server = createServer(listener)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
})

afterAll(async () => {
  server.closeAllConnections()
  server.close()
  rmSync(cwd, { recursive: true })
  await bed[Symbol.asyncDispose]()
})

function headgate(line: string | readonly string[], env: Record<string, string> = {}) {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const where = { HEADGATE_URL: url, HEADGATE_ADMIN_TOKEN: token, ...env }
  return said(typeof line === 'string' ? line.split(' ') : line, { env: where, cwd, nowMs: startMs })
}

async function done(line: string | readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { code, out, err } = await headgate(line, env)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return out
}

const rows = (out: string) => out.split('\n').map(row => row.split(/ {2,}/))

const setup = `groups:
  - name: default
    multiplier: 1.25
accounts:
  - name: a1
    baseUrl: https://api.example/v1
    apiKey: {env: UPSTREAM_KEY}
    groups: [default]
users:
  - email: dev@example.com
prices:
  - {model: gpt-5, input: 1.25, cached: 0.125, output: 10.00}
`

test('a setup is applied, and a second time changes nothing', async () => {
  writeFileSync(join(cwd, 'setup.yaml'), setup)
  const env = { UPSTREAM_KEY: 'sk-upstream-of-the-tests' }
  expect(await done('apply -f setup.yaml --dry-run', env)).toContain('4 would change, 0 stay; nothing was done.')
  expect(await done('group list')).toBe('There is no group yet.\n')
  expect(await done('apply -f setup.yaml', env)).toContain('4 changed, 0 stay as they were.')
  expect(await done('apply -f setup.yaml', env)).toContain('0 changed, 4 stay as they were.')
  expect(rows(await done('price list'))[1]?.slice(0, 7)).toEqual(['gpt-5', 'default', '0', '1.25', '0.125', '1.25', '10.00'])
})

test('what a change changes is shown, and what does not fit is told with its line', async () => {
  const env = { UPSTREAM_KEY: 'sk-upstream-of-the-tests' }
  writeFileSync(join(cwd, 'setup.yaml'), setup.replace('multiplier: 1.25', 'multiplier: 1.5'))
  expect(await done('apply -f setup.yaml', env)).toMatch(/group +default +changed +multiplier: 1\.25 → 1\.5\n/)
  writeFileSync(join(cwd, 'setup.yaml'), setup.replace('[default]', '[nobody]'))
  expect(await headgate('apply -f setup.yaml', env)).toEqual({
    code: 2,
    out: '',
    err: 'setup.yaml:8: accounts[0].groups[0] names the group "nobody", which does not exist; there are default.\n',
  })
})

test('groups, accounts and users are added, changed, disabled and removed', async () => {
  await done('group add team --pays subscription')
  await done('group set team --multiplier 0')
  expect(JSON.parse(await done('group show team --json'))).toMatchObject({ pays: 'subscription', multiplier: '0' })
  const options = '--group team --model gpt-5=mine --allow-private-address --capability stateful=no --requests-per-minute 9'
  await done(`account add a2 --base-url http://10.0.0.9:8000/v1 --api-key-env KEY ${options}`, { KEY: 'sk-other' })
  await done('account set a2 --requests-per-minute none --model none --weight 3')
  await done('account disable a2')
  expect(JSON.parse(await done('account show a2 --json'))).toMatchObject({
    models: {},
    weight: 3,
    requestsPerMinute: null,
    capabilities: { stateful: false, hostedTools: true },
    condition: { state: 'disabled' },
  })
  await done('account remove a2')
  await done('user add guest@example.com --concurrency 1')
  await done('user disable guest@example.com')
  expect(rows(await done('user list')).map(row => [row[0], row[4]])).toContainEqual(['guest@example.com', 'yes'])
  await done('user remove guest@example.com')
  expect(await headgate('group show nobody')).toEqual({ code: 1, out: '', err: 'There is no group "nobody".\n' })
  expect((await headgate('group add UPPER')).code).toBe(2)
})

test('an account is tested, rests and resumes', async () => {
  expect(await done('account test a1 --model gpt-5')).toContain('It answers.')
  expect(bed.tested.at(-1)).toMatchObject({ account: { name: 'a1' }, model: 'gpt-5' })
  await done(['account', 'rest', 'a1', '--minutes', '30', '--why', 'repairs there'])
  expect(await done('status')).toMatch(/a1 +resting +0 +2026-10-01T12:30:00\.000Z +ok +repairs there/)
  await done('account resume a1')
  expect(await done('status')).toMatch(/a1 +ok +0/)
})

test('a key is made, shown once, limited, disabled and removed', async () => {
  const [secret] = (await done('key add --user dev@example.com --group default --name laptop --expires-at 2027-01-01')).split('\n')
  expect(secret).toMatch(/^sk-hg-\S+$/)
  const { items } = JSON.parse(await done('key list --user dev@example.com --json'))
  expect(items).toMatchObject([{ user: 'dev@example.com', name: 'laptop', groups: ['default'], expiresAt: '2027-01-01T00:00:00.000Z' }])
  const { id } = items[0]
  await done(`key set ${id} --concurrency 2 --expires-at none --allow-address 10.0.0.0/8`)
  await done(`key disable ${id}`)
  const shown = await done(`key show ${id} --json`)
  expect(JSON.parse(shown)).toMatchObject({ concurrency: 2, expiresAt: null, allowAddresses: ['10.0.0.0/8'], disabled: true })
  expect(shown).not.toContain(secret)
  await done(`key remove ${id}`)
  expect(await done('key list')).toBe('There is no key yet.\n')
})

test('money is credited and debited, and the books balance', async () => {
  expect(await done(['wallet', 'credit', 'dev@example.com', '5.00', '--reason', 'first month', '--reference', 'payment-1'])).toBe(
    'Credited 5.00 USD; the balance of dev@example.com is 5.00 USD.\n',
  )
  expect(await done(['wallet', 'credit', 'dev@example.com', '5.00', '--reason', 'first month', '--reference', 'payment-1'])).toContain(
    'is 5.00 USD',
  )
  expect(await done('wallet debit dev@example.com 0.000000001 --reason rounding')).toContain('is 4.999999999 USD')
  expect(await headgate('wallet debit dev@example.com 50 --reason greed')).toMatchObject({ code: 1, out: '' })
  expect(await done('wallet adjust dev@example.com -0.50 --reason rounding')).toBe(
    'Adjusted by -0.50 USD; the balance of dev@example.com is 4.499999999 USD.\n',
  )
  expect(await headgate('wallet adjust dev@example.com 0 --reason x')).toMatchObject({ code: 2, out: '' })
  expect(rows(await done('wallet entries dev@example.com')).map(row => row.slice(1, 3))).toEqual([
    ['KIND', 'USD'],
    ['adjustment', '-0.50'],
    ['debit', expect.stringContaining('0.000000001')],
    ['credit', expect.stringContaining('5.00')],
    [],
  ])
  expect(await done('ledger check')).toBe('The books balance.\n')
})

test('prices are set from now on, and keep their history', async () => {
  bed.clock.advance(1000)
  await done(
    'price set gpt-5 --input 2 --cached 0.2 --output 16 --cache-write-12h 4 --web-search 0.01 --max-output 128000 --alias gpt-5-2026-01-01',
  )
  expect(JSON.parse(await done('price list --model gpt-5 --json')).items).toMatchObject([
    { input: '2.00', cacheWrite12h: '4.00', webSearch: '0.01', maxOutput: 128_000, aliases: ['gpt-5-2026-01-01'] },
  ])
  expect(JSON.parse(await done('price list --model gpt-5 --history --json')).items).toHaveLength(2)
})

test('whoever leaves something out of a price is told what that makes it', async () => {
  const [cached, web, file] = ['Cached input costs what fresh input does, 3.00', 'Web searches are free', 'File searches are free']
  const told = await done('price set gpt-whole --input 3 --output 8')
  for (const note of [cached, web, file]) expect(told).toContain(note)
  const whole = await done('price set gpt-whole --input 3 --cached 0.3 --output 8 --web-search 0.01 --file-search none')
  for (const note of [cached, web, file]) expect(whole).not.toContain(note)
})

test('a price is planned, and ended', async () => {
  const from = '2031-01-01T00:00:00.000Z'
  expect(await done('price set gpt-5 --input 1 --output 8 --from 2031-01-01')).toContain(from)
  expect(await done('price list --model gpt-5')).toContain(from)
  expect(await done('price end gpt-5 --at 2031-01-01')).toMatch(/^The price of gpt-5 ends\.\n/)
  expect(JSON.parse(await done('price list --model gpt-5 --json')).items).toMatchObject([{ effectiveTo: from }])
})

test('a subscription is assigned, shown, changed, extended and ended', async () => {
  await done('subscription assign --user dev@example.com --group team --days 30 --daily 5.00')
  const { items } = JSON.parse(await done('subscription list --user dev@example.com --json'))
  expect(items).toMatchObject([{ group: 'team', dailyLimit: '5.00', weeklyLimit: null }])
  const { id, endsAt } = items[0]
  const later = new Date(Date.parse(endsAt) + 86_400_000).toISOString()
  expect(await done(`subscription extend ${id} --days 1`)).toBe(`The subscription ${id} lasts until ${later}.\n`)
  await done(`subscription set ${id} --daily none --weekly 20.00`)
  const shown = await done('subscription show dev@example.com')
  expect(shown).toMatch(/^state +running$/m)
  expect(shown).toMatch(/^left +20\.00 USD$/m)
  expect(rows(shown).filter(row => row[0] === 'weekly')).toEqual([
    ['weekly', '20.00', '0.00', '0.00', '20.00', items[0].startsAt, expect.any(String)],
  ])
  expect(JSON.parse(await done(`subscription show ${id} --json`))).toMatchObject({ id, left: '20.00', windows: [{}, {}, {}] })
  expect(await done(`subscription end ${id}`)).toContain('has ended')
  expect(await done('subscription show dev@example.com')).toBe('dev@example.com has no subscription that runs or is to come.\n')
  expect(await headgate(`subscription extend ${id} --days 1`)).toMatchObject({ code: 1, err: expect.stringContaining('assign a new one') })
  expect(await headgate('subscription assign --user dev@example.com --group team')).toMatchObject({ code: 2 })
})

test('codes are made and shown once, listed, made void and redeemed', async () => {
  const [first, second, , sentence] = (await done('code make --usd 2.50 --count 2 --expires 2027-01-01 --reason spring')).split('\n')
  expect([first, second]).toEqual([expect.stringMatching(/^HG(-\w{4}){5}$/), expect.stringMatching(/^HG(-\w{4}){5}$/)])
  expect(sentence).toBe('Each of these 2 gives 2.50 USD, once. Keep what stands here now: it is shown only this once.')
  const [share] = (await done('code make --group team --days 30 --daily 5.00 --reason spring')).split('\n')
  const listed = await done('code list')
  expect(rows(listed).map(row => row[2])).toEqual(['GIVES', '2.50 USD', '2.50 USD', 'a share of team for 30 days', undefined])
  for (const code of [first!, second!, share!]) expect(listed).not.toContain(code.slice(0, -5))
  const { balance } = JSON.parse(await done('wallet show dev@example.com --json'))
  const after = formatUsd(parseUsd(balance) + parseUsd('2.5'))
  expect(await done(`code redeem ${first!.toLowerCase()} --user dev@example.com`)).toBe(
    `Credited 2.50 USD; the balance of dev@example.com is ${after} USD.\n`,
  )
  expect(await headgate(`code redeem ${first} --user dev@example.com`)).toEqual({
    code: 1,
    out: '',
    err: 'This code was redeemed before; a code is good once.\n',
  })
  const { items } = JSON.parse(await done('code list --json'))
  expect(await done(`code void ${items[0].id}`)).toBe(`The code HG-…${second!.slice(-4)} is void.\n`)
  expect(await done(`code redeem ${share} --user dev@example.com`)).toMatch(/^dev@example\.com has a share of team until 20\S+Z\.\n$/)
  expect(await done('code list')).toBe('There is no code that can be redeemed.\n')
  expect(rows(await done('code list --all')).map(row => row[3])).toEqual(['STATE', 'redeemed', 'void', 'redeemed', undefined])
  expect(await done('ledger check')).toBe('The books balance.\n')
})

const receiptLines = [
  /^Receipt c1$/m,
  /^ {2}user +dev@example\.com$/m,
  /^ {2}account +a1$/m,
  /^ {2}asked +\/v1\/responses, as a stream$/m,
  /^ {2}model +gpt-5, served as gpt-5-mini$/m,
  /^ {2}client +codex_cli\/1\.0$/m,
  /^ {2}changed +the default instructions were added$/m,
  /^ {2}changed +sent without 1 reasoning item, which the organisation of the account could not read/m,
  /^ {2}changed +the ceiling of output was lowered to 2048 tokens/m,
  /^1 +a1 +gpt-5 +503 +overloaded +– +100 ms +no +–$/m,
  /^2 +a1 +gpt-5 +200 +– +200 ms +100 ms +yes +–$/m,
  /^ {2}input +1000 \(400 fresh, 600 cached, 0 written to the cache\)$/m,
  /^ {2}output +50 \(20 of them reasoning\)$/m,
  /^ {2}cost +0\.0013 USD$/m,
  /^ {2}known by +reported: the upstream said what it used/m,
  /^ {2}price version +p1$/m,
  /^ {2}held before +0\.009 USD$/m,
  /^ {2}uncollected +0\.0013 USD of it, borne by the operator: tools that the upstream runs itself/m,
  /^ {2}began +2026-10-01T12:00:00\.000Z$/m,
  /^ {2}in line +3 ms$/m,
]

test('a receipt says everything about a call', async () => {
  const ids = async (noun: string) => JSON.parse(await done([noun, 'list', '--json'])).items[0].id
  const [userId, accountId, groupId] = [await ids('user'), await ids('account'), await ids('group')]
  const call = {
    ...{
      id: 'c1',
      userId,
      keyId: 'k1',
      groupId,
      accountId,
      path: '/v1/responses',
      stream: true,
      requestedModel: 'gpt-5',
      servedModel: 'gpt-5-mini',
    },
    ...({ tier: 'default', priceId: 'p1', status: 200, ended: 'completed', fault: null, basis: 'reported' } as const),
    ...{
      usage: { ...noUsage, inputTokens: 1000, cachedTokens: 600, outputTokens: 50, reasoningTokens: 20 },
      held: 9_000_000n,
      cost: 1_300_000n,
      uncollectedWhy: 'hosted_tools' as const,
    },
    ...{
      attempts: 2,
      lineMs: 3,
      firstTokenMs: 210,
      durationMs: 900,
      address: '10.1.2.3',
      userAgent: 'codex_cli/1.0',
      instructionsAdded: true,
    },
    ...{ outputLoweredTo: 2048, repaired: '1 reasoning item', upstreamRequestId: 'req_1', beganAtMs: startMs },
  }
  const attempt = { callId: 'c1', accountId, model: 'gpt-5', beganAtMs: startMs, durationMs: 100, upstreamRequestId: null }
  const attempts = [
    { ...attempt, number: 1, status: 503, fault: 'overloaded', firstEventMs: null, answered: false },
    { ...attempt, number: 2, status: 200, fault: null, firstEventMs: 200, answered: true },
  ]
  await bed.commit(callSteps(call, attempts))
  const out = await done('usage show c1')
  for (const line of receiptLines) expect(out).toMatch(line)
  expect(rows(await done('usage list --user dev@example.com --since 24h'))[1]?.[1]).toBe('c1')
  expect(await headgate('usage show c2')).toEqual({ code: 1, out: '', err: 'There is no call "c2".\n' })
})

test('a charge is given back, and its receipt says so', async () => {
  const walletId = JSON.parse(await done('user list --json')).items[0].id
  const funds = { kind: 'wallet', walletId } as const
  await bed.ledger.hold({ ...heldCall(startMs), callId: 'c3', funds, floor: 1n, want: 1n, halfOfFree: false })
  await bed.commit([
    ...settleSteps({ callId: 'c3', cost: 20_000_000n, atMs: startMs, funds, entryId: 'e3' }),
    settledRowStep('c3', 20_000_000n),
  ])
  expect(await done(['wallet', 'refund', 'c3', '--usd', '0.005', '--reason', 'a broken answer'])).toBe(
    'Gave back 0.005 of the 0.02 USD that the call c3 was charged.\n',
  )
  expect(await done('usage show c3')).toMatch(/^ {2}given back +0\.005 USD of it, by admin at 2026-10-01\S+: a broken answer$/m)
  expect(await headgate('wallet refund c3 --reason all')).toMatchObject({ code: 1, err: expect.stringContaining('was given back before') })
})
