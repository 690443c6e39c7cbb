import type OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { callsSince } from '../journey/books.ts'
import { until } from '../world.ts'
import { type ClientWorld, type Manner, meetAll } from './journey.ts'
import {
  askChat,
  askResponses,
  beginning,
  brokenMessage,
  type Client,
  clientOf,
  failedMessage,
  refusedByOpenAI,
  wholeText,
} from './openai.ts'

/** What `openai` of either version does; that both do the same is itself a fact. */

const back = { text: 'Back.', requests: 2 }

/** A response that failed is no error to it: its status says so. */
const ofResponses: Manner = {
  refused: refusedByOpenAI,
  answers: {
    'a text': { text: 'The gate is open.', finish: 'completed' },
    'a text that reaches its ceiling': { text: 'The gate is', finish: 'incomplete' },
    'an upstream that is down, and up again': { ...back, finish: 'completed' },
    'an upstream’s rate limit of a second': { ...back, finish: 'completed' },
    'an overload of a second': { ...back, finish: 'completed' },
    'an answer that fails in the middle': { text: beginning, finish: `failed: server_error: ${failedMessage}` },
    'an answer that is cut in the middle': { text: beginning, finish: `failed: server_error: ${brokenMessage}` },
    'an answer that ends too early': { text: beginning, finish: `failed: server_error: ${brokenMessage}` },
  },
}

const thrown = (message: string) => ({ text: wholeText, error: { kind: 'APIError', message, code: 'server_error' } })

const ofChat: Manner = {
  refused: refusedByOpenAI,
  answers: {
    'a text': { text: 'The gate is open.', finish: 'stop' },
    'a text that reaches its ceiling': { text: 'The gate is', finish: 'length' },
    'an upstream that is down, and up again': { ...back, finish: 'stop' },
    'an upstream’s rate limit of a second': { ...back, finish: 'stop' },
    'an overload of a second': { ...back, finish: 'stop' },
    'an answer that fails in the middle': thrown(failedMessage),
    'an answer that is cut in the middle': thrown(brokenMessage),
    'an answer that ends too early': thrown(brokenMessage),
  },
}

const tools: OpenAI.Responses.Tool[] = [
  { type: 'function', name: 'open_gate', parameters: { type: 'object', properties: {} }, strict: false },
]
const toolCall = { name: 'open_gate', arguments: '{"width":3}' }

export function meetOpenAI(Client: Client, open: () => ClientWorld): void {
  meetAll('responses', askResponses(Client), ofResponses, open)
  meetAll('chat completions', askChat(Client), ofChat, open)
  describe('a tool is called, and its output sent back', () => tellTools(Client, open))
  describe('a user who leaves', () => tellLeaving(Client, open))
}

function tellTools(Client: Client, open: () => ClientWorld): void {
  test.for(['by the id of the response', 'with all that was said'] as const)('%s', async how => {
    const { world, targetOf } = open()
    world.sim.script({}, [{ toolCall }, { text: 'It is open.' }])
    const client = clientOf(Client, targetOf('good'))
    const asked = { role: 'user' as const, content: 'Open it.' }
    const first = await client.responses.create({ model: 'sim', input: [asked], tools })
    const call = first.output.find(item => item.type === 'function_call')
    expect(call).toMatchObject(toolCall)
    const output = { type: 'function_call_output' as const, call_id: call!.call_id, output: 'done' }
    const second = await client.responses.create(
      how === 'by the id of the response'
        ? { model: 'sim', previous_response_id: first.id, input: [output], tools }
        : { model: 'sim', input: [asked, call!, output], tools },
    )
    expect(second.output_text).toBe('It is open.')
    await world.quiet()
    expect((await callsSince(world)).map(({ cost }) => cost)).toEqual(world.sim.invoice.map(({ costNanos }) => costNanos))
  })

  test('in a chat completion', async () => {
    const { world, targetOf } = open()
    world.sim.script({}, [{ toolCall }, { text: 'It is open.' }])
    const client = clientOf(Client, targetOf('good'))
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Open it.' }]
    const ofTool = { type: 'function' as const, function: { name: 'open_gate', parameters: {} } }
    const [first] = (await client.chat.completions.create({ model: 'sim', messages, tools: [ofTool] })).choices
    const [call] = first!.message.tool_calls ?? []
    expect(first?.finish_reason).toBe('tool_calls')
    messages.push(first!.message, { role: 'tool', tool_call_id: call!.id, content: 'done' })
    const second = await client.chat.completions.create({ model: 'sim', messages, tools: [ofTool] })
    expect(second.choices[0]?.message.content).toBe('It is open.')
    await world.quiet()
    expect((await callsSince(world)).map(({ cost }) => cost)).toEqual(world.sim.invoice.map(({ costNanos }) => costNanos))
  })
}

function tellLeaving(Client: Client, open: () => ClientWorld): void {
  test.for(['responses', 'chat'] as const)('of a stream of %s pays for what the upstream made', async speaks => {
    const { world, targetOf } = open()
    world.sim.gate('held').shut()
    world.sim.script({}, { hold: { gate: 'held', at: 5 } })
    const client = clientOf(Client, targetOf('good'))
    const leaving = new AbortController()
    const { signal } = leaving
    const stream =
      speaks === 'responses'
        ? await client.responses.create({ model: 'sim', input: 'hello', stream: true }, { signal })
        : await client.chat.completions.create({ model: 'sim', messages: [{ role: 'user', content: 'hello' }], stream: true }, { signal })
    const heard: unknown[] = []
    const listening = (async () => {
      for await (const event of stream) heard.push(event)
    })()
    await world.sim.gate('held').reached()
    await until(() => heard.length >= 5, 'the events do not come')
    leaving.abort()
    await listening // Its own leaving is no error to it.
    await until(() => world.headgate.serving.calls.count === 0, 'nobody notices that the client left')
    world.sim.open('held')
    await world.quiet()
    expect(await callsSince(world)).toMatchObject([{ ended: 'client_left', basis: 'drained', cost: world.sim.invoice[0]!.costNanos }])
    expect(open().requests).toBe(1)
  })
}
