import { createHash } from 'node:crypto'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type OpenStream, openStream, send, type Target } from '../client.ts'
import { openWorld, until, type World } from '../world.ts'
import { type Bulk, eventsOf, inputOf, openBulkUpstream, prepareBulk } from './bulk.ts'
import { type GatewayProcess, startGateway } from './gateway-process.ts'

/** The gateway in a process of its own, so that its CPU, memory and pauses are its own, with an upstream in a thread. */
async function openLarge(settings: Parameters<typeof startGateway>[1] = {}) {
  await using scope = new AsyncDisposableStack()
  const upstream = scope.use(await openBulkUpstream())
  const world: World = scope.use(
    await openWorld({
      accounts: [{ baseUrl: `${upstream.url}/v1`, concurrency: 0, models: { bulk: 'bulk', alias: 'bulk' } }],
      prices: [{ model: 'bulk', input: 1n, output: 1n }],
      user: { concurrency: 0 },
      balance: '1000',
    }),
  )
  await world.headgate.stop()
  const gateway = scope.use(await startGateway(join(world.folder, 'data'), settings))
  const rest = scope.move()
  return { gateway, target: { url: gateway.url, key: world.key }, [Symbol.asyncDispose]: () => rest.disposeAsync() }
}

const mebibyte = 1024 * 1024
const shown = (bytes: number) => `${Math.round(bytes / mebibyte)} MiB`

const bodies: readonly Pick<Bulk, 'model' | 'how'>[] = [
  { model: 'bulk', how: 'plain' },
  { model: 'alias', how: 'plain' },
  { model: 'bulk', how: 'chunked' },
  { model: 'bulk', how: 'gzip' },
]
const everyMs = 20
const stallMsMax = 250

test('a body of 90 MiB stalls nobody else’s stream', async () => {
  await using large = await openLarge()
  const { target, gateway } = large
  await longestPauseDuring(target, () => delay(500)) // What is compiled or opened the first time is not the body's doing.
  const control = await longestPauseDuring(target, () => delay(1_500))
  for (const body of bodies) {
    await using bulk = await prepareBulk({ ...target, ...body, bytes: 90 * mebibyte, count: 1 })
    const before = gateway.memoryBytes()
    const pause = await longestPauseDuring(target, async () => expect(await bulk.send()).toMatchObject([{ status: 200 }]))
    const memory = shown(gateway.memoryBytes() - before)
    console.log(
      `90 MiB ${body.how} as ${body.model}: longest pause ${pause.toFixed(0)} ms, without it ${control.toFixed(0)} ms; grew by ${memory}`,
    )
    expect(pause).toBeLessThan(control + stallMsMax)
  }
})

const isFull = process.env.HEADGATE_TEST_FULL !== undefined
const manyBytes = (isFull ? 90 : 9) * mebibyte
const bodiesBytesMax = (isFull ? 512 : 51) * mebibyte

test(`of 50 bodies of ${shown(manyBytes)} at once, no more are held than ${shown(bodiesBytesMax)}`, {
  timeout: isFull ? 300_000 : 60_000,
}, async () => {
  await using large = await openLarge({ bodiesBytesMax, bodyBytesMax: Math.min(bodiesBytesMax, 100 * mebibyte) })
  const { target, gateway } = large
  await using bulk = await prepareBulk({ ...target, model: 'bulk', how: 'plain', bytes: manyBytes, count: 50 })
  await using watch = watchMemory(gateway)
  const sent = await bulk.send()
  const { bodies, memory } = watch
  const accepted = sent.filter(({ status }) => status === 200)
  const refused = sent.filter(({ status }) => status === 503)
  console.log(`${accepted.length} accepted, ${refused.length} refused; at most ${shown(bodies())} held, memory grew by ${shown(memory())}`)
  expect(accepted.length + refused.length).toBe(50)
  expect(accepted.length).toBeGreaterThan(0)
  expect(refused.length).toBeGreaterThan(0)
  for (const { retryAfter, text } of refused) {
    expect(Number(retryAfter)).toBeGreaterThan(0)
    expect(JSON.parse(text).error).toMatchObject({
      type: 'api_error',
      message: 'Too many request bodies are being read, please retry later',
    })
  }
  expect(bodies()).toBeGreaterThan(manyBytes)
  expect(bodies()).toBeLessThanOrEqual(bodiesBytesMax)
  expect(await metric(target, 'headgate_body_bytes')).toBe(0)
})

test('an answer that has begun holds a large body no longer', async () => {
  await using world = await openWorld()
  world.sim.script({}, { hold: { gate: 'middle', at: 6 } })
  const { bodies } = world.headgate.gateway
  await using open = openStream(world, { body: { input: 'words and more words, '.repeat(200_000) } })
  await until(() => bodies.takenBytes > 4 * mebibyte, 'the body is not counted')
  await open.until('response.output_text.delta')
  expect(bodies.takenBytes).toBe(0)
  world.sim.open('middle')
  await open.until('response.completed')
  await world.quiet()
})

test('a body that an answer keeps for an estimate makes room for whoever needs it, the longest kept first', async () => {
  await using world = await openWorld({ settings: { bodyBytesMax: mebibyte, bodiesBytesMax: 2 * mebibyte } })
  world.sim.script({}, { hold: { gate: 'middle', at: 6 }, usage: null, text: 'So be it.', deltas: 3 })
  const { bodies } = world.headgate.gateway
  const input = 'a'.repeat(0.8 * mebibyte)
  const begun: OpenStream[] = []
  for (const name of ['1', '2', '3']) {
    const stream = openStream(world, { body: { input: `${name}${input}` } })
    begun.push(stream)
    await stream.until('response.output_text.delta')
  }
  expect(bodies.takenBytes).toBeGreaterThan(1.6 * mebibyte)
  expect(bodies.takenBytes).toBeLessThan(2 * mebibyte)
  world.sim.open('middle')
  for (const stream of begun) await stream.until('response.completed')
  await world.quiet()
  // The first was let go, so its size had to do: four bytes to a token. The vocabulary has longer words of "a".
  const tokens = (await world.rows()).map(row => Number(row.input_tokens))
  expect(tokens[0]).toBeGreaterThan(input.length / 4 - 1)
  for (const counted of tokens.slice(1)) expect(counted).toBeLessThan(input.length / 7)
})

const streams = 500
const eventsEach = 100

test(`${streams} streams at once of ${eventsEach} events each arrive byte for byte`, async () => {
  await using large = await openLarge()
  const { target, gateway } = large
  await Promise.all(Array.from({ length: 50 }, (_, number) => hashOf(target, number)))
  const [cpu, memory] = [gateway.cpuSeconds(), gateway.memoryBytes()]
  const started = performance.now()
  const heard = await Promise.all(Array.from({ length: streams }, (_, number) => hashOf(target, number)))
  const tookMs = performance.now() - started
  const perEventUs = ((gateway.cpuSeconds() - cpu) * 1e6) / (streams * eventsEach)
  console.log(
    `${streams} streams in ${tookMs.toFixed(0)} ms: ${perEventUs.toFixed(1)} µs of CPU an event, memory ${shown(gateway.memoryBytes())}, before ${shown(memory)}`,
  )
  expect(heard).toEqual(heard.map((_, number) => sha256(eventsOf(number, eventsEach))))
})

/** How long a client, who is sent an event every 20 ms, waits for one at the most, while something is done. */
async function longestPauseDuring(target: Target, work: () => Promise<unknown>): Promise<number> {
  await using open = openStream(target, { body: { model: 'bulk', input: inputOf(0, 5_000, everyMs) } })
  await open.until('response.output_text.delta')
  let [lastMs, longestMs, isOver] = [performance.now(), 0, false]
  const listening = (async () => {
    while (!isOver) {
      await open.next()
      const nowMs = performance.now()
      longestMs = Math.max(longestMs, nowMs - lastMs)
      lastMs = nowMs
    }
  })()
  await work()
  isOver = true
  await listening
  return longestMs
}

async function hashOf(target: Target, number: number): Promise<string> {
  const hash = createHash('sha256')
  await stream(target, inputOf(number, eventsEach, 10), chunk => hash.update(chunk))
  return hash.digest('hex')
}

function sha256(texts: Iterable<string>): string {
  const hash = createHash('sha256')
  for (const text of texts) hash.update(text)
  return hash.digest('hex')
}

function stream({ url, key }: Target, input: string, take: (chunk: Buffer) => void): Promise<void> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` }
  return new Promise((resolve, reject) => {
    const outgoing = request(`${url}/v1/responses`, { method: 'POST', headers, agent: false })
    outgoing.on('error', reject)
    outgoing.on('response', response => {
      response.on('data', take).on('end', resolve).on('error', reject)
      if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`))
    })
    outgoing.end(JSON.stringify({ model: 'bulk', stream: true, input }))
  })
}

/** The most that was seen, looking as often as the gateway answers. */
function watchMemory(gateway: GatewayProcess) {
  const before = gateway.memoryBytes()
  let [bodies, memory] = [0, before]
  let isOver = false
  const watching = (async () => {
    while (!isOver) {
      bodies = Math.max(bodies, await metric({ url: gateway.url, key: '' }, 'headgate_body_bytes'))
      memory = Math.max(memory, gateway.memoryBytes())
    }
  })()
  return {
    bodies: () => bodies,
    memory: () => memory - before,
    async [Symbol.asyncDispose]() {
      isOver = true
      await watching
    },
  }
}

async function metric(target: Target, name: string): Promise<number> {
  const { body } = await send(target, { method: 'GET', path: '/metrics', key: null })
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(body)?.[1])
}
