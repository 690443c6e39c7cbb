import { generateText, isStepCount, jsonSchema, streamText, tool } from 'ai'
import { describe, expect, test } from 'vitest'
import { callsSince } from '../journey/books.ts'
import { until } from '../world.ts'
import { askSdk, modelOf } from './ai-sdk.ts'
import { clientWorld, type Expected, type Manner, meetAll } from './journey.ts'
import { beginning, brokenMessage, failedMessage, wholeText } from './openai.ts'
import type { Refusal } from './situations.ts'

/** `ai` with `@ai-sdk/openai`, as they come from npm. */

const back = { text: 'Back.', finish: 'stop', requests: 2 }
const broken = (text: string, message: string) => ({
  text,
  finish: 'error',
  error: { kind: 'StreamProviderError', message, code: 'server_error' },
})

/** It knows nothing of `x-should-retry`, and tries again by the status alone. */
function refused({ status, message }: Refusal): Expected {
  if (status !== 429 && status < 500) return { text: '', error: { kind: 'APICallError', message, status } }
  const last = `Failed after 3 attempts. Last error: AI_APICallError: ${message}`
  return { text: '', error: { kind: 'RetryError', message: last, status }, requests: 3 }
}

const manner = (text: string): Manner => ({
  refused,
  refusedHow: ['whole'], // It waits for six seconds before it gives up.
  answers: {
    'a text': { text: 'The gate is open.', finish: 'stop' },
    'a text that reaches its ceiling': { text: 'The gate is', finish: 'length' },
    'an upstream that is down, and up again': back,
    'an upstream’s rate limit of a second': back,
    'an overload of a second': back,
    'an answer that fails in the middle': broken(text, failedMessage),
    'an answer that is cut in the middle': broken(text, brokenMessage),
    'an answer that ends too early': broken(text, brokenMessage),
  },
})

const open = clientWorld()
meetAll('responses', askSdk('responses'), manner(beginning), open)
meetAll('chat completions', askSdk('chat'), manner(wholeText), open)

describe.each(['responses', 'chat'] as const)('%s', speaks => {
  test.for([false, true])('a tool is run and its output sent back, all in one go (stream: %s)', async stream => {
    const { world, targetOf } = open()
    world.sim.script({}, [{ toolCall: { name: 'open_gate', arguments: '{"width":3}' } }, { text: 'It is open.' }])
    const widths: unknown[] = []
    const inputSchema = jsonSchema<{ width: number }>({ type: 'object', properties: { width: { type: 'number' } }, required: ['width'] })
    const execute = (given: unknown) => {
      widths.push(given)
      return 'done'
    }
    const asked = {
      model: modelOf(targetOf('good'), speaks, 'sim'),
      prompt: 'Open it.',
      tools: { open_gate: tool({ inputSchema, execute }) },
      stopWhen: isStepCount(3),
    }
    expect(await (stream ? streamText(asked).text : generateText(asked).then(({ text }) => text))).toBe('It is open.')
    expect(widths).toEqual([{ width: 3 }])
    await world.quiet()
    expect((await callsSince(world)).map(({ cost }) => cost)).toEqual(world.sim.invoice.map(({ costNanos }) => costNanos))
  })

  test('a user who leaves pays for what the upstream made', async () => {
    const { world, targetOf } = open()
    world.sim.gate('held').shut()
    world.sim.script({}, { hold: { gate: 'held', at: 5 } })
    const leaving = new AbortController()
    const types: string[] = []
    const reading = (async () => {
      const asked = { model: modelOf(targetOf('good'), speaks, 'sim'), prompt: 'hello', abortSignal: leaving.signal }
      for await (const { type } of streamText(asked).fullStream) types.push(type)
    })()
    await world.sim.gate('held').reached()
    await until(() => types.includes('text-delta'), 'no text comes')
    leaving.abort()
    await reading
    expect(types).toContain('abort')
    await until(() => world.headgate.serving.calls.count === 0, 'nobody notices that the client left')
    world.sim.open('held')
    await world.quiet()
    expect(await callsSince(world)).toMatchObject([{ ended: 'client_left', basis: 'drained', cost: world.sim.invoice[0]!.costNanos }])
    expect(open().requests).toBe(1)
  })
})
