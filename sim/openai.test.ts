import OpenAI, { APIError } from 'openai'
import { expect, test } from 'vitest'
import { openSim, type Sim } from './sim.ts'

function clientOf(sim: Sim): OpenAI {
  return new OpenAI({ apiKey: 'sk-real', baseURL: `${sim.url}/v1`, maxRetries: 0 })
}

test('the official client reads a JSON answer', async () => {
  await using sim = await openSim()
  sim.script({}, { text: 'Hello there', model: 'gpt-5.4-2026-03-05', reasoning: 4 })
  const response = await clientOf(sim).responses.create({ model: 'gpt-5.4', input: 'hi' })

  expect(response.output_text).toBe('Hello there')
  expect(response.model).toBe('gpt-5.4-2026-03-05')
  expect(response.usage).toMatchObject({
    input_tokens: 1,
    output_tokens: 7,
    output_tokens_details: { reasoning_tokens: 4 },
    total_tokens: 8,
  })
  expect(sim.attempts[0]).toMatchObject({ key: 'sk-real', path: '/v1/responses', method: 'POST' })
})

test('the official client accumulates a stream of every kind of item', async () => {
  await using sim = await openSim()
  sim.script(
    {},
    { text: 'Hello there', reasoning: 4, webSearches: 1, hugeEventBytes: 10, toolCall: { name: 'look', arguments: '{"at":1}' } },
  )
  const stream = clientOf(sim).responses.stream({ model: 'gpt-5.4', input: 'hi' })
  let text = ''
  stream.on('response.output_text.delta', event => (text += event.delta))
  const final = await stream.finalResponse()

  expect(text).toBe('Hello there')
  expect(final.status).toBe('completed')
  expect(final.output.map(item => item.type)).toEqual(['reasoning', 'web_search_call', 'image_generation_call', 'message', 'function_call'])
  expect(final.output.at(-1)).toMatchObject({ name: 'look', arguments: '{"at":1}' })
})

test('the official client sees fast answers as any others, each with ids of its own', async () => {
  await using sim = await openSim()
  sim.script({}, { fast: true, outputTokens: 5 })
  const client = clientOf(sim)
  const [first, second] = [
    await client.responses.create({ model: 'm', input: 'hi' }),
    await client.responses.create({ model: 'm', input: 'hi' }),
  ]
  const streamed = await client.responses.stream({ model: 'm', input: 'hi' }).finalResponse()

  expect([first.output_text, second.output_text]).toEqual([' the man and his dog', ' the man and his dog'])
  expect(streamed.output).toMatchObject([{ type: 'message', content: [{ text: ' the man and his dog' }] }])
  expect(new Set([first, second, streamed].flatMap(each => [each.id, each.output[0]!.id])).size).toBe(6)
  expect(sim.invoice.map(line => [line.responseId, line.usage.outputTokens, line.ended])).toEqual(
    [first, second, streamed].map(each => [each.id, 5, 'completed']),
  )
})

test('the official client throws what a refusal says', async () => {
  await using sim = await openSim()
  sim.script({}, { status: 429, headers: { 'retry-after': '7' } })
  const error = await clientOf(sim)
    .responses.create({ model: 'gpt-5.4', input: 'hi' })
    .catch(thrown => thrown)

  expect(error).toBeInstanceOf(APIError)
  expect(error).toMatchObject({ status: 429, code: 'rate_limit_exceeded', type: 'requests' })
  expect(error.headers.get('retry-after')).toBe('7')
})

test('the official client lists the models', async () => {
  await using sim = await openSim({ models: ['a', 'b'] })
  const models = await clientOf(sim).models.list()

  expect(models.data.map(model => model.id)).toEqual(['a', 'b'])
})
