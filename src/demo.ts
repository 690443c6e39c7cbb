import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSim, type Sim } from '../sim/sim.ts'
import { connectApi, pathOf } from './cli/client.ts'
import { systemTerminal } from './cli/io.ts'
import { printReceipt } from './cli/receipt.ts'
import { type Config, environment } from './config.ts'
import { open, type Served, say, untilToldToStop } from './main.ts'
import { dataOf, sseReader } from './protocols/sse.ts'

/** Where the demo's calls go. */
interface Upstream {
  readonly about: string
  readonly baseUrl: string
  readonly apiKey: string
  readonly allowPrivateAddress: boolean
  readonly model: string
  /** Where it tells what it counted; the real API has no such page. */
  readonly invoice?: string
  /** USD per million tokens. */
  readonly price: { readonly input: string; readonly cached: string; readonly output: string }
}

const question = 'What does a headgate do?'
const email = 'dev@example.com'
const credit = '5.00'

/** `headgate demo`: a gateway with everything it needs, one call through all of it, and what to try next. Stays up until told to stop. */
export async function demo(config: Config): Promise<void> {
  await using scope = new AsyncDisposableStack()
  // Until it is up there is nothing to stop in order, but a folder to remove.
  const interrupted = () => process.exit(130)
  process.on('SIGINT', interrupted).on('SIGTERM', interrupted)
  const mine = withFolder(config, scope)
  const served = await openServed(mine)
  scope.defer(() => served.stop())
  const sim = await openScripted(scope)
  const upstream = upstreamOf(environment()['OPENAI_API_KEY'], sim)
  say(`\nA gateway listens at ${served.url}. Behind it is ${upstream.about}.`)
  const key = await furnish(served, upstream)
  say(`It has one group, one account, one user (${email}) with ${credit} USD, and one key.\n\n> ${question}\n`)

  const callId = await ask(served, key, upstream.model)
  const terminal = systemTerminal(environment())
  printReceipt(terminal, await apiOf(served).get(pathOf('usage', callId)))
  say(whatToTry({ url: served.url, data: mine.settings.data, key, upstream }))
  scope.move()
  process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
  try {
    await untilToldToStop(served)
  } finally {
    await sim.close()
  }
}

/** A folder of its own, unless the operator named one: what a demo books is nobody's business tomorrow. */
function withFolder(config: Config, scope: AsyncDisposableStack): Config {
  const settings = {
    ...config.settings,
    // What a demo books is nobody's business tomorrow, and least of all on a server that others share.
    databaseUrl: null,
    logLevel: config.sources.logLevel.from === 'default' ? ('warn' as const) : config.settings.logLevel,
    // Nobody else sends calls here who would have to be told first.
    stopNoticeMs: config.sources.stopNoticeMs.from === 'default' ? 0 : config.settings.stopNoticeMs,
  }
  if (config.sources.data.from !== 'default') return { ...config, settings }
  const data = mkdtempSync(join(tmpdir(), 'headgate-demo-'))
  const remove = () => rmSync(data, { recursive: true, force: true })
  scope.defer(async () => remove())
  process.on('exit', remove)
  return { ...config, settings: { ...settings, data } }
}

/** On the usual port when it is free; on any other when nobody insisted. */
async function openServed(config: Config): Promise<Served> {
  const { settings, sources } = config
  try {
    return await open(config)
  } catch (error) {
    if (sources.listen.from !== 'default' || !String(error).includes('is in use')) throw error
    return open({ ...config, settings: { ...settings, listen: { ...settings.listen, port: 0 } } })
  }
}

const answer =
  'It is the gate at the top of an irrigation canal. Many farms share one stream; the headgate lets each have the measure ' +
  'that it is owed, keeps count of what flowed, and when one channel breaks it sends the water down another.'

async function openScripted(scope: AsyncDisposableStack): Promise<Sim> {
  const sim = scope.use(await openSim({ prices: { sim: { input: '2', cached: '0.2', cacheWrite: '2.5', output: '10' } } }))
  sim.script({}, { text: answer, deltas: 40, firstEventAfterMs: 300, betweenEventsMs: 40 })
  return sim
}

function upstreamOf(apiKey: string | undefined, sim: Sim): Upstream {
  if (apiKey !== undefined && apiKey !== '') {
    return {
      about: 'the OpenAI API, with the key in OPENAI_API_KEY',
      baseUrl: 'https://api.openai.com/v1',
      apiKey,
      allowPrivateAddress: false,
      model: 'gpt-5.4-nano',
      // @pydantic/genai-prices 0.1.8, 2026-09-23.
      price: { input: '0.20', cached: '0.02', output: '1.25' },
    }
  }
  return {
    about: 'a scripted upstream; set OPENAI_API_KEY to use the real one',
    baseUrl: `${sim.url}/v1`,
    apiKey: 'sim-key',
    allowPrivateAddress: true,
    model: 'sim',
    invoice: `${sim.url}/invoice`,
    price: { input: '2', cached: '0.2', output: '10' },
  }
}

function apiOf(served: Served) {
  return connectApi({ ...served.gateway.settings, url: served.url, adminToken: served.adminToken, data: '' })
}

/** Through the admin API, as an operator would. Returns the key. */
async function furnish(served: Served, { baseUrl, apiKey, allowPrivateAddress, model, price }: Upstream): Promise<string> {
  const api = apiOf(served)
  const setup = {
    groups: [{ name: 'default' }],
    accounts: [{ name: 'demo', groups: ['default'], baseUrl, apiKey, allowPrivateAddress, concurrency: 10 }],
    users: [{ email, concurrency: 5 }],
    prices: [{ model, ...price }],
  }
  await api.send('POST', pathOf('apply'), { setup })
  await api.send('POST', pathOf('wallets', email, 'credit'), { amount: credit, reason: 'demo' })
  const made = await api.send('POST', pathOf('keys'), { user: email, groups: ['default'], name: `demo ${new Date().toISOString()}` })
  return String(made['key'])
}

/** One streamed call, shown as it arrives. Returns the call's id. */
async function ask({ url }: Served, key: string, model: string): Promise<string> {
  const response = await fetch(`${url}/v1/responses`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, input: question, stream: true, max_output_tokens: 300 }),
  })
  if (!response.ok || response.body === null) throw new Error(`the demo's call was refused: ${response.status} ${await response.text()}`)
  const reader = sseReader()
  for await (const chunk of response.body) reader.push(Buffer.from(chunk), (raw, type) => show(type, dataOf(raw)))
  process.stdout.write('\n\n')
  return response.headers.get('x-request-id') ?? ''
}

function show(type: string, json: string): void {
  const said: { delta?: unknown; response?: { error?: { message?: unknown } } } = JSON.parse(json)
  if (type === 'response.output_text.delta') process.stdout.write(String(said.delta))
  if (type === 'response.failed') process.stdout.write(`\n[failed: ${String(said.response?.error?.message)}]`)
}

interface Try {
  readonly url: string
  readonly data: string
  readonly key: string
  readonly upstream: Upstream
}

function whatToTry({ url, data, key, upstream: { model, invoice } }: Try): string {
  const reconcile = invoice === undefined ? '' : `\n  npx headgate reconcile --since 1d --invoice ${invoice} --account demo`
  return `
Now you. In another terminal:

  curl -N ${url}/v1/responses \\
    -H "Authorization: Bearer ${key}" \\
    -H "Content-Type: application/json" \\
    -d '{"model":"${model}","input":"Hello","stream":true}'

and what became of it:

  export HEADGATE_URL="${url}" HEADGATE_DATA="${data}"
  npx headgate usage list
  npx headgate status${reconcile}
  curl ${url}/v1/credits -H "Authorization: Bearer ${key}"

openai-node:

  const client = new OpenAI({ baseURL: '${url}/v1', apiKey: '${key}' })

Codex, in ~/.codex/config.toml (and export HEADGATE_KEY=${key}):

  model = "${model}"
  model_provider = "headgate"
  [model_providers.headgate]
  name = "Headgate"
  base_url = "${url}/v1"
  wire_api = "responses"
  env_key = "HEADGATE_KEY"

Ctrl-C ends the demo.`
}
