import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openSim, type Sim } from '../../sim/sim.ts'
import { openStream, send } from '../client.ts'
import { simPrice, until } from '../world.ts'
import { type GatewayProcess, startGateway } from './gateway-process.ts'

/** What is planted, and must turn up nowhere but where it was sent. */
const planted = {
  adminToken: 'hgadm-canary-0123456789-of-the-admin',
  secretKey: 'c0ffee'.repeat(10) + 'abcd',
  upstreamKey: 'sk-proj-canary0123456789upstream0987654321',
  secondUpstreamKey: 'plain-canary-upstream-key-without-any-usual-form',
  prompt: 'the canary sings at midnight in the garden',
  instructions: 'always answer as a canary in a coal mine would',
  toolOutput: 'canary-tool-output-4711',
  cacheKey: 'canary-cache-key-4712',
  image: Buffer.from('a canary as a picture').toString('base64'),
  wrongKey: 'sk-hg-canary-of-somebody-who-guesses-keys-000000',
  queryKey: 'sk-canary-in-the-query-string-0815',
  answer: 'what the canary was answered in confidence',
  wrongCode: 'HG-CANA-RY00-4713-N0T0-NE0F',
}

test('T22: no secret, prompt or answer is kept, logged, measured or told', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'headgate-test-'))
  try {
    await using sim = await openSim({ prices: { sim: simPrice } })
    const { adminToken, secretKey } = planted
    await using gateway = await startGateway(join(folder, 'data'), { adminToken, secretKey, logLevel: 'trace', betweenBytesTimeoutMs: 300 })
    const told: string[] = []
    const clientKey = await setUp(gateway, sim, told)
    const codes = await redeemCodes(gateway, told)
    await useInEveryWay(gateway, sim, clientKey, told)

    const metrics = (await send({ url: gateway.url, key: '' }, { method: 'GET', path: '/metrics', key: null })).body
    expect(metrics).toMatch(/headgate_calls_total\{.*\} \d/)
    // While it runs, so that what only the write-ahead log has is searched as well.
    const running = filesIn(join(folder, 'data'))
    expect([...running.keys()]).toContain('headgate.db-wal')
    gateway.child.kill('SIGTERM')
    expect(await gateway.exit).toBe(0)
    const output = gateway.output()
    expect(output).toContain('"level":')

    const places = new Map([...running, ...suffixed(filesIn(join(folder, 'data'))), ['the log', Buffer.from(output)]])
    places.set('the metrics', Buffer.from(metrics))
    for (const [index, text] of told.entries()) places.set(`refusal ${index}: ${text.slice(0, 80)}`, Buffer.from(text))
    expect(told.length).toBeGreaterThan(25)
    const found = [...places].flatMap(([place, bytes]) =>
      secretsIn(bytes, { ...planted, clientKey, ...codes }).map(name => `${name} in ${place}`),
    )
    expect(found).toEqual([])
    // The search finds what is there.
    expect(secretsIn(running.get('headgate.db-wal')!, { email: 'dev@example.com' })).toEqual(['email'])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

/** By the admin API, whose refusals are kept in `told` too. The client's key. */
async function setUp({ url }: GatewayProcess, sim: Sim, told: string[]): Promise<string> {
  const admin = async (path: string, body: object, status = 201): Promise<string> => {
    const answer = await send({ url, key: planted.adminToken }, { path: `/admin/v1${path}`, body })
    expect({ path, status: answer.status, body: answer.body }).toMatchObject({ path, status })
    if (path !== '/keys') told.push(answer.body)
    return String(answer.json.key)
  }
  const account = { baseUrl: `${sim.url}/v1`, allowPrivateAddress: true, groups: ['default'] }
  await admin('/groups', { name: 'default' })
  await admin('/accounts', { ...account, name: 'one', apiKey: planted.upstreamKey, priority: 1 })
  await admin('/accounts', { ...account, name: 'two', apiKey: planted.secondUpstreamKey, priority: 2 })
  await admin('/accounts', { ...account, name: 'one', apiKey: planted.upstreamKey }, 409)
  await admin('/accounts', { ...account, name: 'bad', apiKey: `${planted.upstreamKey} `, weight: 'heavy' }, 422)
  await admin('/users', { email: 'dev@example.com' })
  await admin('/prices', { model: 'sim', ...simPrice }, 200)
  await admin('/wallets/dev@example.com/credit', { amount: '10', reason: 'to begin with' }, 200)
  const wrong = await send({ url, key: planted.wrongKey }, { path: '/admin/v1/groups', body: { name: 'other' } })
  expect(wrong.status).toBe(401)
  told.push(wrong.body)
  return admin('/keys', { user: 'dev@example.com', groups: ['default'], name: 'laptop' })
}

/** A code that is redeemed, one that is not yet, and one that somebody got wrong; each also without its dashes. */
async function redeemCodes({ url }: GatewayProcess, told: string[]): Promise<Readonly<Record<string, string>>> {
  const admin = (path: string, body: object) => send({ url, key: planted.adminToken }, { path: `/admin/v1${path}`, body })
  const made = await admin('/codes', { amount: '5', count: 2, reason: 'to try it' })
  const [redeemed, unredeemed] = (made.json.items as readonly { readonly code: string }[]).map(({ code }) => code) as [string, string]
  for (const [status, code, user] of [
    [200, redeemed, 'dev@example.com'],
    [409, redeemed, 'dev@example.com'],
    [422, unredeemed, 'nobody@example.com'],
    [404, planted.wrongCode, 'dev@example.com'],
    [422, unredeemed, undefined],
  ] as const) {
    const answer = await admin('/codes/redeem', { code, user })
    expect({ code, status: answer.status }).toEqual({ code, status })
    told.push(answer.body)
  }
  const listed = await send({ url, key: planted.adminToken }, { method: 'GET', path: '/admin/v1/codes?all=true' })
  expect(listed.json.items).toHaveLength(2)
  told.push(listed.body)
  const plain = [redeemed, unredeemed, planted.wrongCode].map(code => code.replaceAll('-', ''))
  return Object.fromEntries([redeemed, unredeemed, ...plain].map((code, index) => [`code ${index}`, code]))
}

async function useInEveryWay({ url }: GatewayProcess, sim: Sim, key: string, told: string[]): Promise<void> {
  const target = { url, key }
  const body = {
    model: 'sim',
    instructions: planted.instructions,
    prompt_cache_key: planted.cacheKey,
    input: [
      { role: 'user', content: [{ type: 'input_text', text: planted.prompt }] },
      { role: 'user', content: [{ type: 'input_image', image_url: `data:image/png;base64,${planted.image}` }] },
      { type: 'function_call', call_id: 'call_1', name: 'look', arguments: planted.toolOutput },
      { type: 'function_call_output', call_id: 'call_1', output: planted.toolOutput },
    ],
  }
  sim.script({}, { text: planted.answer })
  expect(await send(target, { body })).toMatchObject({ status: 200 })
  await using open = openStream(target, { body })
  await open.until('response.completed')

  const refusals: readonly (readonly [number, Parameters<typeof send>[1]])[] = [
    [401, { body, key: planted.wrongKey }],
    [400, { body, path: `/v1/responses?api_key=${planted.queryKey}` }],
    [400, { body: `{"model": "sim", "input": "${planted.prompt}", ` }],
    [400, { body: JSON.stringify({ input: planted.prompt }) }],
    [415, { body, headers: { 'content-encoding': 'canary' } }],
    [404, { body, path: '/v1/other' }],
    [404, { body, path: '/v1/responses/resp_unknown/cancel' }],
    [400, { body: { ...body, previous_response_id: 'resp_unknown' } }],
  ]
  for (const [status, asked] of refusals) {
    const answer = await send(target, asked)
    expect({ asked, status: answer.status }).toEqual({ asked, status })
    told.push(answer.body)
  }
  await failUpstream(sim, target, body, told)
}

/** Upstreams that say in their errors what they were given. */
async function failUpstream(sim: Sim, target: { url: string; key: string }, body: object, told: string[]): Promise<void> {
  const quoting = `${planted.upstreamKey} ${planted.secondUpstreamKey} said: ${planted.prompt}`
  const scripts = [
    ...[401, 403, 429, 500, 503].map(status => ({ status, error: { message: quoting } })),
    { rawBody: `<html>${quoting}</html>` },
    { rawBody: `event: response.created\ndata: {"${quoting}\n\n`, headers: { 'content-type': 'text/event-stream' } },
    { errorFirst: true, failure: { message: quoting } },
    { end: 'reset', noHeaders: true } as const,
  ]
  for (const script of scripts) {
    sim.script({}, script)
    for (const stream of [false, true]) {
      const answer = await send(target, { body: { ...body, stream } })
      if (answer.status >= 400) told.push(answer.body) // What has begun to answer is passed on as it is.
    }
    await resume(target.url)
  }
  sim.script({}, { text: planted.answer, end: 'stall', afterEvents: 5 })
  await using open = openStream(target, { body })
  await open.until('response.failed')
  sim.script({}, { hold: { gate: 'middle', at: 6 } })
  await using left = openStream(target, { body })
  await left.until('response.output_text.delta')
  left.leave()
  sim.open('middle')
  await sim.idle()
  const metrics = () => send({ url: target.url, key: '' }, { method: 'GET', path: '/metrics', key: null })
  await until(async () => /^headgate_drains 0$/m.test((await metrics()).body), 'the client that left is not settled')
}

async function resume(url: string): Promise<void> {
  for (const account of ['one', 'two']) {
    expect(await send({ url, key: planted.adminToken }, { path: `/admin/v1/accounts/${account}/resume`, body: {} })).toMatchObject({
      status: 200,
    })
  }
}

function filesIn(folder: string): Map<string, Buffer> {
  return new Map(readdirSync(folder).map(name => [name, readFileSync(join(folder, name))]))
}

function suffixed(files: ReadonlyMap<string, Buffer>): [string, Buffer][] {
  return [...files].map(([name, bytes]) => [`${name}, at the end`, bytes])
}

/** The names of those that are there, whole or with their ends cut off, as they are or in base64. */
function secretsIn(bytes: Buffer, secrets: Readonly<Record<string, string>>): string[] {
  const isThere = (secret: string) => {
    const middle = secret.slice(8, -6)
    return [secret, middle, Buffer.from(secret).toString('base64').slice(0, -4)].some(form => bytes.includes(form))
  }
  return Object.keys(secrets).filter(name => isThere(secrets[name]!))
}
