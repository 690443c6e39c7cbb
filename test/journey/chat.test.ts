import OpenAI from 'openai'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Script } from '../../sim/script.ts'
import { parseUsd } from '../../src/ledger/money.ts'
import { type Json, refusalOf, send } from '../client.ts'
import { sharedWorld } from '../shared-world.ts'
import { openWorld, simPrice, type WorldOptions } from '../world.ts'
import { callsSince, markCalls } from './books.ts'
import { bodyOf, chatPath, complete, expectBilled, heardOf, openChat } from './chatting.ts'

/** `POST /v1/chat/completions` when all goes well: what each client has in hands, and what was charged. */

const twice = { input: '4', cached: '0.4', cacheWrite: '5', output: '20' }

/** Two tiers, on both sides. */
const tiered: WorldOptions = {
  accounts: [{ models: { sim: 'sim', fast: 'sim' } }],
  charges: { ...simPrice, tiers: { priority: twice } },
  prices: [
    {},
    {
      tier: 'priority',
      input: parseUsd(twice.input),
      cached: parseUsd(twice.cached),
      cacheWrite: parseUsd(twice.cacheWrite),
      output: parseUsd(twice.output),
    },
  ],
}

interface Case {
  readonly script: Script
  readonly ask?: object
  readonly finish?: string
  readonly ended?: string
  readonly choices?: number
  readonly tool?: boolean
}

const streamOptions: readonly [{ readonly include_usage?: boolean; readonly include_obfuscation?: boolean } | undefined][] = [
  [undefined],
  [{ include_usage: false }],
  [{ include_usage: true }],
  [{ include_obfuscation: false }],
]

const tools = [{ type: 'function', function: { name: 'open_gate', parameters: {} } }]
const toolCall = { name: 'open_gate', arguments: '{"width":3}' }

const cases: Readonly<Record<string, Case>> = {
  'a text': { script: { text: 'The gate is open.' } },
  'a text in chunks of 7 bytes': { script: { chunkBytes: 7 } },
  'a text with CR LF and comments': { script: { crlf: true, comments: true } },
  'an upstream that keeps the line open': { script: { linger: 60_000 } },
  'a call of a tool': { script: { toolCall }, ask: { tools }, finish: 'tool_calls', tool: true },
  'a text and a call of a tool': { script: { text: 'Let me.', toolCall }, ask: { tools }, finish: 'tool_calls', tool: true },
  'three choices': { script: {}, ask: { n: 3 }, choices: 3 },
  'cached, written and reasoned tokens': { script: { cachedTokens: 3, cacheWriteTokens: 2, reasoning: 90 } },
  'the ceiling, as newer models know it': { script: {}, ask: { max_completion_tokens: 5 }, finish: 'length', ended: 'incomplete' },
  'the ceiling, as older ones do': { script: {}, ask: { max_tokens: 5 }, finish: 'length', ended: 'incomplete' },
  'three choices up to the ceiling': { script: {}, ask: { n: 3, max_tokens: 5 }, choices: 3, finish: 'length', ended: 'incomplete' },
  'an alias': { script: {}, ask: { model: 'fast' } },
  'a better tier': { script: {}, ask: { service_tier: 'priority' } },
  'a better tier that was not to be had': { script: { serviceTier: 'default' }, ask: { service_tier: 'priority' } },
}

describe('of one answer:', () => {
  const open = sharedWorld(tiered)
  beforeEach(async () => {
    open().sim.reset()
    await markCalls(open())
  })

  describe.each(Object.entries(cases))('%s', (_, { script, ask = {}, finish = 'stop', ended = 'completed', choices = 1, tool = false }) => {
    const model = (ask as { model?: string }).model ?? 'sim'
    const bill = { basis: 'reported', ended } as const

    test('as JSON', async () => {
      const world = open()
      world.sim.script({}, script)
      const { status, json } = await complete(world, ask)
      expect(status).toBe(200)
      const told = json.choices as Json[]
      expect(told.map(({ finish_reason }) => finish_reason)).toEqual(Array(choices).fill(finish))
      const usage = world.sim.invoice[0]!.usage
      expect(json).toMatchObject({ model, usage: { prompt_tokens: usage.inputTokens, completion_tokens: usage.outputTokens } })
      expect(world.sim.attempts.map(({ path }) => path)).toEqual([chatPath])
      await expectBilled(world, bill)
    })

    test.for(streamOptions)('as a stream, with the options %j', async ([options]) => {
      const world = open()
      world.sim.script({}, script)
      await using stream = openChat(world, { ...ask, ...(options && { stream_options: options }) })
      const heard = heardOf(await stream.rest())
      expect(heard).toMatchObject({ models: [model], isDone: true, error: undefined })
      expect(heard.choices).toHaveLength(choices)
      for (const choice of heard.choices)
        expect(choice).toMatchObject({ finish, ...(tool && { tool: toolCall.name, args: toolCall.arguments }) })
      const { usage } = world.sim.invoice[0]!
      const last = { prompt_tokens: usage.inputTokens, completion_tokens: usage.outputTokens }
      if (options?.include_usage === true) expect(heard.usages.at(-1)).toMatchObject(last)
      else expect(heard.usages).toEqual([])
      expect(JSON.parse(String(world.sim.attempts[0]!.body)).stream_options).toEqual({ ...options, include_usage: true })
      await expectBilled(world, bill)
    })

    test('with openai-node, whole and streamed to the same end', async () => {
      const world = open()
      world.sim.script({}, script)
      const client = new OpenAI({ baseURL: `${world.url}/v1`, apiKey: world.key, maxRetries: 0 })
      const asked = bodyOf(ask) as unknown as OpenAI.ChatCompletionCreateParamsNonStreaming
      const whole = await client.chat.completions.create(asked)
      const { stream: _, ...rest } = asked
      const streamed = await client.chat.completions.stream({ ...rest, stream_options: { include_usage: true } }).finalChatCompletion()
      const told = ({ model: served, usage, choices: all }: OpenAI.ChatCompletion) => ({
        served,
        usage,
        choices: all.map(({ finish_reason, message }) => [
          finish_reason,
          message.content || null,
          message.tool_calls?.map(call => call.type === 'function' && [call.function.name, call.function.arguments]),
        ]),
      })
      expect(told(streamed)).toEqual(told(whole))
      await world.quiet()
      const costs = (await callsSince(world)).map(({ cost }) => cost)
      expect(costs).toEqual(world.sim.invoice.map(({ costNanos }) => costNanos))
    })
  })
})

test('what a client asked for itself comes byte for byte as the upstream sent it', async () => {
  await using world = await openWorld()
  const ask = { stream_options: { include_usage: true } }
  await using through = openChat(world, ask)
  await using direct = openChat({ url: world.sim.url, key: 'up-a1' }, ask)
  await Promise.all([through.rest(), direct.rest()])
  const unnamed = (text: string) => text.replaceAll(/chatcmpl-\w+/g, 'id').replaceAll(/"created":\d+/g, '"created":0')
  expect(unnamed(through.text)).toBe(unnamed(direct.text))
  expect(through.text).toMatch(/data: \[DONE\]\n\n$/)
  await world.quiet()
})

test('every byte that is not ours to change reaches the upstream as it was sent', async () => {
  await using world = await openWorld()
  const body = '{"x":1e400, "model":"sim","messages":[{"role":"user","content":"é"}],"seed":12345678901234567890 ,"stream":true}'
  await using stream = await Promise.resolve(openChat(world))
  await stream.rest()
  await send(world, { path: `${chatPath}?trace=1`, body })
  const { path, body: sent } = world.sim.attempts[1]!
  expect(path).toBe(`${chatPath}?trace=1`)
  expect(String(sent)).toBe(`{"stream_options":{"include_usage":true},${body.slice(1)}`)
  await world.quiet()
})

test.for(['/chat/completions', '/openai/v1/chat/completions'])('%s is the same', async path => {
  await using world = await openWorld()
  expect(await send(world, { path, body: bodyOf() })).toMatchObject({ status: 200 })
  await expectBilled(world, { basis: 'reported', ended: 'completed' })
})

describe('when money is short', () => {
  /** For the input and 2,000 tokens of output, at the dearest: 2,500 and 10,000 nano-dollars. */
  const balance = '0.0203'

  test.for([
    [{}, ['max_completion_tokens']],
    [{ max_tokens: 90_000 }, ['max_tokens']],
    [{ max_completion_tokens: 90_000 }, ['max_completion_tokens']],
  ] as const)('the ceiling of %j is lowered to what can be paid', async ([ask, names]) => {
    await using world = await openWorld({ balance })
    world.sim.script({}, { outputTokens: 50_000 })
    const { status, json } = await complete(world, ask)
    expect(status).toBe(200)
    expect((json.choices as Json[])[0]).toMatchObject({ finish_reason: 'length' })
    const sent = JSON.parse(String(world.sim.attempts[0]!.body)) as Record<string, number>
    for (const name of names) expect(sent[name]).toBeLessThanOrEqual(2_030)
    expect(Object.keys(sent).filter(name => name.startsWith('max_'))).toEqual(names)
    const row = await expectBilled(world, { basis: 'reported', ended: 'incomplete' })
    expect(row.cost).toBeLessThanOrEqual(row.held as bigint)
  })

  test('it is lowered for each of the choices', async () => {
    await using world = await openWorld({ balance: '0.0503' })
    world.sim.script({}, { outputTokens: 50_000 })
    await using stream = openChat(world, { n: 3, max_tokens: 90_000 })
    expect(heardOf(await stream.rest()).choices.map(({ finish }) => finish)).toEqual(['length', 'length', 'length'])
    const row = await expectBilled(world, { basis: 'reported', ended: 'incomplete' })
    expect(row.cost).toBeLessThanOrEqual(row.held as bigint)
  })

  test('and with none at all the call is refused', async () => {
    await using world = await openWorld({ balance: '0' })
    expect(refusalOf(await complete(world, { stream: true }))).toMatchObject({ status: 429, code: 'insufficient_quota', retry: 'never' })
    await world.quiet()
  })
})

describe('what an account cannot do', () => {
  test('a Responses call finds nobody where only chat completions are spoken, and the other way round', async () => {
    await using world = await openWorld()
    const [account] = world.accounts
    await world.changeAccount(account!, { capabilities: { ...account!.capabilities, responses: false } })
    expect(refusalOf(await send(world))).toEqual({
      ...{ status: 503, type: 'api_error', code: null, param: null, retry: 'never' },
      message: 'No available accounts: a1 speaks no Responses API',
    })
    expect((await complete(world)).status).toBe(200)
    await world.changeAccount(account!, { capabilities: { ...account!.capabilities, chat: false } })
    expect(refusalOf(await complete(world)).message).toBe('No available accounts: a1 speaks no Chat Completions API')
    expect((await send(world)).status).toBe(200)
    await world.quiet()
  })

  test('another account that can is taken, whatever its priority', async () => {
    await using world = await openWorld({ accounts: [{ priority: 1 }, { priority: 9 }] })
    const [account] = world.accounts
    await world.changeAccount(account!, { capabilities: { ...account!.capabilities, chat: false } })
    expect((await complete(world)).status).toBe(200)
    expect(world.sim.attempts.map(({ key }) => key)).toEqual(['up-a2'])
    await expectBilled(world, { basis: 'reported', ended: 'completed' })
  })
})
