import { expect, test } from 'vitest'
import { openStream, send } from '../client.ts'
import { sharedWorld } from '../shared-world.ts'

/** SPEC 1.6: which headers pass, in both directions. */

const world = sharedWorld({ accounts: [{}] })

const passing: Readonly<Record<string, string>> = {
  'content-type': 'application/json; charset=utf-8',
  'accept-language': 'de',
  'user-agent': 'codex_exec/0.169.0',
  'openai-beta': 'responses_multi_agent=v1',
  originator: 'codex_exec',
  session_id: 's1',
  'session-id': 's2',
  thread_id: 't1',
  'thread-id': 't2',
  conversation_id: 'c1',
  'x-session-affinity': 'a1',
  'x-session-id': 'a2',
  'x-client-request-id': 'r1',
  'x-codex-window-id': 'w1',
  'x-codex-turn-metadata': '{"request_kind":"turn"}',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
}

const staying: Readonly<Record<string, string>> = {
  accept: 'application/json',
  'accept-encoding': 'gzip',
  'x-api-key': 'sk-nobody',
  'api-key': 'sk-nobody',
  cookie: 'a=b',
  'x-forwarded-for': '203.0.113.7',
  'x-forwarded-proto': 'https',
  forwarded: 'for=203.0.113.7',
  'x-real-ip': '203.0.113.7',
  via: '1.1 proxy',
  'openai-organization': 'org-1',
  'openai-project': 'proj-1',
  'x-stainless-lang': 'js',
  'x-request-id': 'mine',
  'idempotency-key': 'k1',
  'cf-connecting-ip': '203.0.113.7',
  baggage: 'a=b',
  tracestate: 'a=b',
  te: 'trailers',
  'x-anything-else': 'yes',
}

test('of a request’s headers those on the list pass, and no others', async () => {
  expect((await send(world(), { headers: { ...staying, ...passing } })).status).toBe(200)
  const { connection, host, 'content-length': length, ...sent } = world().sim.attempts.at(-1)!.headers
  expect(sent).toEqual({ ...passing, authorization: 'Bearer up-a1', accept: '*/*', 'accept-encoding': 'identity' })
  expect(host).toBe(new URL(world().sim.url).host)
  expect([connection, Number(length) > 0]).toEqual(['keep-alive', true])
})

test('nothing is made up for a client that says nothing', async () => {
  expect((await send(world())).status).toBe(200)
  const { connection, host, 'content-length': length, ...sent } = world().sim.attempts.at(-1)!.headers
  expect(sent).toEqual({ 'content-type': 'application/json', authorization: 'Bearer up-a1', accept: '*/*', 'accept-encoding': 'identity' })
})

const fromUpstream: Readonly<Record<string, string | readonly string[]>> = {
  'openai-processing-ms': '417',
  'openai-version': '2020-10-01',
  'openai-organization': 'org-1',
  'openai-project': 'proj-1',
  'openai-model': 'sim-flagged',
  'x-ratelimit-limit-requests': '100',
  'x-ratelimit-remaining-requests': '99',
  'x-ratelimit-remaining-tokens': '7',
  'x-ratelimit-reset-tokens': '6m0s',
  'x-codex-primary-used-percent': '93',
  'retry-after': '5',
  'set-cookie': ['__cf_bm=1', '_cfuvid=2'],
  'cf-ray': 'abc-FRA',
  server: 'cloudflare',
  'strict-transport-security': 'max-age=1',
  'alt-svc': 'h3=":443"',
}

const ours = { 'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/), date: expect.any(String), connection: expect.any(String) }
const theirs = {
  'openai-processing-ms': '417',
  'openai-version': '2020-10-01',
  'x-upstream-request-id': expect.stringMatching(/^req_/),
}

test('of an answer’s headers the upstream’s id, time and version are told, and the rest is the account’s business', async () => {
  world().sim.script({}, { headers: fromUpstream })
  const { headers } = await send(world())
  expect(headers).toEqual({ ...ours, ...theirs, 'content-type': 'application/json', 'content-length': expect.stringMatching(/^\d+$/) })

  await using stream = openStream(world())
  const begun = await stream.begun
  expect(begun.headers).toEqual({
    ...ours,
    ...theirs,
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
    'transfer-encoding': 'chunked',
  })
  await stream.rest()
})

test('a refusal that is relayed has the same headers', async () => {
  world().sim.script({}, { status: 400, headers: fromUpstream })
  const { headers } = await send(world())
  expect(headers).toEqual({ ...ours, ...theirs, 'content-type': 'application/json', 'content-length': expect.stringMatching(/^\d+$/) })
})

test('an account may want its key in another header', async () => {
  const [account] = world().accounts
  const { capabilities } = account!
  world().sim.script({}, {})
  await world().changeAccount(account!, { capabilities: { ...capabilities, auth: 'api-key' } })
  expect((await send(world())).status).toBe(200)
  const { headers } = world().sim.attempts.at(-1)!
  expect([headers['api-key'], headers.authorization]).toEqual(['up-a1', undefined])
  await world().changeAccount(account!, {})
})
