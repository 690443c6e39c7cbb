import { Agent, tool } from '@openai/agents'
import { describe, expect, test } from 'vitest'
import { callsSince } from '../journey/books.ts'
import { until } from '../world.ts'
import { askAgents, runnerOf } from './agents.ts'
import { clientWorld, type Manner, meetAll } from './journey.ts'
import { beginning, brokenMessage, failedMessage, refusedByOpenAI, wholeText } from './openai.ts'

/** `@openai/agents`, as it comes from npm. Its requests are made by `openai`, and so are its refusals. */

const back = { text: 'Back.', requests: 2 }
const ended = (state: string) => ({
  kind: 'ModelBehaviorError',
  message: `OpenAI Responses request ended with unsuccessful terminal state "response.${state}".`,
})
const thrown = (message: string) => ({ text: wholeText, error: { kind: 'APIError', message, code: 'server_error' } })

const ofResponses: Manner = {
  refused: refusedByOpenAI,
  answers: {
    'a text': { text: 'The gate is open.' },
    'a text that reaches its ceiling': {
      whole: { text: '', error: ended('incomplete') },
      stream: { text: 'The gate is', error: ended('incomplete') },
    },
    'an upstream that is down, and up again': back,
    'an upstream’s rate limit of a second': back,
    'an overload of a second': back,
    'an answer that fails in the middle': { text: beginning, error: ended('failed') },
    'an answer that is cut in the middle': { text: beginning, error: ended('failed') },
    'an answer that ends too early': { text: beginning, error: ended('failed') },
  },
}

const ofChat: Manner = {
  refused: refusedByOpenAI,
  answers: {
    ...ofResponses.answers,
    'a text that reaches its ceiling': { text: 'The gate is' },
    'an answer that fails in the middle': thrown(failedMessage),
    'an answer that is cut in the middle': thrown(brokenMessage),
    'an answer that ends too early': thrown(brokenMessage),
  },
}

const open = clientWorld()
meetAll('responses', askAgents(true), ofResponses, open)
meetAll('chat completions', askAgents(false), ofChat, open)

const gateOpener = (widths: unknown[]) =>
  tool({
    name: 'open_gate',
    description: 'Opens the gate.',
    parameters: { type: 'object', properties: { width: { type: 'number' } }, required: ['width'], additionalProperties: true },
    strict: false,
    execute: given => {
      widths.push(given)
      return 'done'
    },
  })

describe.each([
  ['responses', true],
  ['chat completions', false],
] as const)('%s', (_, speaksResponses) => {
  test.for([false, true])('a tool is run and its output sent back, all in one run (stream: %s)', async stream => {
    const { world, targetOf } = open()
    world.sim.script({}, [{ toolCall: { name: 'open_gate', arguments: '{"width":3}' } }, { text: 'It is open.' }])
    const widths: unknown[] = []
    const agent = new Agent({ name: 'Keeper', model: 'sim', tools: [gateOpener(widths)] })
    const runner = runnerOf(targetOf('good'), speaksResponses)
    const result = stream ? await runner.run(agent, 'Open it.', { stream }) : await runner.run(agent, 'Open it.')
    if ('completed' in result) await result.completed
    expect(result.finalOutput).toBe('It is open.')
    expect(widths).toEqual([{ width: 3 }])
    await world.quiet()
    expect((await callsSince(world)).map(({ cost }) => cost)).toEqual(world.sim.invoice.map(({ costNanos }) => costNanos))
  })

  test('a user who leaves pays for what the upstream made', async () => {
    const { world, targetOf } = open()
    world.sim.gate('held').shut()
    world.sim.script({}, { hold: { gate: 'held', at: 5 } })
    const leaving = new AbortController()
    const agent = new Agent({ name: 'Keeper', model: 'sim' })
    const result = await runnerOf(targetOf('good'), speaksResponses).run(agent, 'hello', { stream: true, signal: leaving.signal })
    const over = result.completed.catch(() => {}) // It left.
    await world.sim.gate('held').reached()
    leaving.abort()
    await over
    await until(() => world.headgate.serving.calls.count === 0, 'nobody notices that the client left')
    world.sim.open('held')
    await world.quiet()
    expect(await callsSince(world)).toMatchObject([{ ended: 'client_left', basis: 'drained', cost: world.sim.invoice[0]!.costNanos }])
    expect(open().requests).toBe(1)
  })
})

test('a run goes on from the response before it', async () => {
  const { world, targetOf } = open()
  const agent = new Agent({ name: 'Keeper', model: 'sim' })
  const runner = runnerOf(targetOf('good'), true)
  const first = await runner.run(agent, 'Who may open the gate?')
  world.sim.script({}, { text: 'The keeper.' })
  const second = await runner.run(agent, 'And who closes it?', { previousResponseId: first.lastResponseId! })
  expect(second.finalOutput).toBe('The keeper.')
  const unknown = await runner.run(agent, 'And now?', { previousResponseId: 'resp_nobody' }).catch((error: unknown) => error)
  expect(unknown).toMatchObject({ status: 400, code: 'previous_response_not_found' })
  await world.quiet()
})
