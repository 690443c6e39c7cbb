import OpenAI from 'openai'
import OpenAI6 from 'openai6'
import { describe, expect, test } from 'vitest'
import { ask } from './listen.ts'
import { openSim, type Sim } from './sim.ts'

const clients = [
  ['openai 7', OpenAI],
  ['openai 6', OpenAI6 as unknown as typeof OpenAI],
] as const

const clientOf = (sim: Sim, Client: typeof OpenAI = OpenAI, apiKey = 'sk-1') =>
  new Client({ apiKey, baseURL: `${sim.url}/v1`, maxRetries: 0 })

const user = (content: string) => ({ type: 'message' as const, role: 'user' as const, content })

describe.each(clients)('with %s', (_, Client) => {
  test('a conversation is made, told, changed and deleted', async () => {
    await using sim = await openSim()
    const { conversations } = clientOf(sim, Client)
    const made = await conversations.create({ metadata: { farm: 'east' }, items: [user('hello')] })
    expect(made).toMatchObject({ object: 'conversation', metadata: { farm: 'east' } })
    expect(made.id).toMatch(/^conv_/)
    expect(await conversations.retrieve(made.id)).toEqual(made)
    expect(await conversations.update(made.id, { metadata: { farm: 'west' } })).toEqual({ ...made, metadata: { farm: 'west' } })
    expect(await conversations.delete(made.id)).toEqual({ id: made.id, object: 'conversation.deleted', deleted: true })

    await expect(conversations.retrieve(made.id)).rejects.toMatchObject({
      status: 404,
      error: { message: `Conversation with id '${made.id}' not found.`, type: 'invalid_request_error' },
    })
    expect(sim.invoice).toEqual([])
  })

  test('its items are added, told in pages and one by one, and deleted', async () => {
    await using sim = await openSim()
    const { conversations } = clientOf(sim, Client)
    const { id } = await conversations.create()
    const added = await conversations.items.create(id, { items: [user('one'), user('two'), user('three')] })
    expect(added).toMatchObject({ object: 'list', has_more: false, data: [{ role: 'user', status: 'completed' }, {}, {}] })
    const ids = added.data.map(item => item.id)
    const listed: (string | null | undefined)[] = []
    for await (const item of conversations.items.list(id, { limit: 2, order: 'asc' })) listed.push(item.id)
    expect(listed).toEqual(ids)
    expect(await conversations.items.retrieve(ids[1]!, { conversation_id: id })).toEqual(added.data[1])
    expect((await conversations.items.delete(ids[1]!, { conversation_id: id })).id).toBe(id)

    expect((await conversations.items.list(id)).data.map(item => item.id)).toEqual([ids[2], ids[0]])
    await expect(conversations.items.retrieve(ids[1]!, { conversation_id: id })).rejects.toMatchObject({ status: 404 })
  })

  test('a call takes its conversation up, pays for it, and leaves in it what was said', async () => {
    await using sim = await openSim()
    sim.script({}, { text: 'one two three four', reasoning: 10 })
    const { conversations, responses } = clientOf(sim, Client)
    const { id } = await conversations.create({ items: [user('12345678')] })
    const first = await responses.create({ model: 'm', input: 'hello', conversation: id })
    const second = await responses.create({ model: 'm', input: 'hello', conversation: { id } })

    expect(first).toMatchObject({ conversation: { id }, usage: { input_tokens: 2 + 2, output_tokens: 15 } })
    expect(second.usage!.input_tokens).toBe(2 + 2 + 15 + 2)
    const { data } = await conversations.items.list(id, { order: 'asc' })
    expect(data.map(item => item.type)).toEqual(['message', ...['message', 'reasoning', 'message'], ...['message', 'reasoning', 'message']])
    expect(data[3]).toEqual(first.output[1])
  })
})

test('a conversation is known to its own key only, and unknown ones are refused before anything is owed', async () => {
  await using sim = await openSim()
  const { id } = await clientOf(sim).conversations.create()
  const refused = await Promise.all([
    ask(sim, { path: `/v1/conversations/${id}`, method: 'GET', key: 'sk-2' }).heard,
    ask(sim, { path: `/v1/conversations/${id}/items`, key: 'sk-2', body: { items: [] } }).heard,
    ask(sim, { key: 'sk-2', body: { model: 'm', input: 'x', conversation: id } }).heard,
    ask(sim, { body: { model: 'm', input: 'x', conversation: 'conv_none' } }).heard,
  ])

  expect(refused.map(({ status }) => status)).toEqual([404, 404, 404, 404])
  expect(refused.slice(0, 3).map(({ text }) => JSON.parse(text).error.message)).toEqual(
    Array.from({ length: 3 }, () => `Conversation with id '${id}' not found.`),
  )
  expect(sim.invoice.map(line => line.ended)).toEqual(['refused', 'refused'])
  const { id: response } = JSON.parse((await ask(sim).heard).text)
  const both = await ask(sim, { body: { model: 'm', input: 'x', conversation: id, previous_response_id: response } }).heard
  expect([both.status, JSON.parse(both.text).error.code]).toEqual([400, 'mutually_exclusive_parameters'])
})

test.each([
  ['{"items":"x"}', "Invalid type for 'items'"],
  ['{"items":[1]}', "Invalid type for 'items'"],
  [JSON.stringify({ items: Array.from({ length: 21 }, () => user('x')) }), 'maximum length 20'],
  ['[', 'could not parse'],
])('%.40s makes no conversation', async (body, sentence) => {
  await using sim = await openSim()
  const { status, text } = await ask(sim, { path: '/v1/conversations', body }).heard

  expect([status, JSON.parse(text).error.message]).toEqual([400, expect.stringContaining(sentence)])
})

const missing = (id: string) =>
  `Item with id '${id}' not found. Items are not persisted when \`store\` is set to false. Try again with \`store\` set to true, or remove this item from your input.`

test('an item is referred to by its id, and costs what it says; an unknown or foreign one is refused', async () => {
  await using sim = await openSim()
  sim.script({}, { text: 'one two three four', reasoning: 10 })
  const say = async (input: unknown, more: { key?: string; store?: boolean } = {}) => {
    const { key = 'sk-1', ...fields } = more
    const { status, text } = await ask(sim, { key, body: { model: 'm', input, ...fields } }).heard
    return { ...JSON.parse(text), status }
  }
  const stored = await say('hello')
  const unstored = await say('hello', { store: false })
  const refer = (id: string) => [{ type: 'item_reference', id }]
  const [thought, message] = stored.output
  const referring = await say(refer(message.id))

  expect(referring.usage.input_tokens).toBe(5)
  const items = JSON.parse((await ask(sim, { path: `/v1/responses/${referring.id}/input_items`, method: 'GET' }).heard).text)
  expect(items.data).toEqual([message])
  for (const [input, key, id] of [
    [refer('msg_none'), 'sk-1', 'msg_none'],
    [refer(message.id), 'sk-2', message.id],
    [refer(unstored.output[1].id), 'sk-1', unstored.output[1].id],
    [[thought], 'sk-2', thought.id],
  ]) {
    expect(await say(input, { key })).toMatchObject({ status: 400, error: { message: missing(id), code: null, param: 'input' } })
  }
  expect((await say([thought, message])).status).toBe(200)
})

test('reasoning comes back sealed when it is asked for or nothing is stored, and opens for its organisation only', async () => {
  await using sim = await openSim({ organisations: { a1: 'org-a', a2: 'org-a', b: 'org-b' } })
  sim.script({}, { text: 'yes', reasoning: 10 })
  const say = async (key: string, fields: object) => {
    const { status, text } = await ask(sim, { key, body: { model: 'm', input: 'hello', ...fields } }).heard
    return { ...JSON.parse(text), status }
  }
  const include = ['reasoning.encrypted_content']
  const plain = await say('a1', {})
  const [asked, unstored] = [await say('a1', { include }), await say('a1', { store: false })]
  expect(plain.output[0].encrypted_content).toBeUndefined()
  expect(asked.output[0].encrypted_content).toMatch(/^gAAAA/)
  const input = [unstored.output[0], { role: 'user', content: 'and?' }]

  expect((await say('a2', { input, store: false })).status).toBe(200)
  const foreign = await say('b', { input })
  expect([foreign.status, foreign.error.code]).toEqual([400, 'invalid_encrypted_content'])
  expect(foreign.error.message).toMatch(
    /^The encrypted content gAAA.*= could not be verified\. Reason: .* organization_id did not match the target organization\.$/,
  )
  const broken = await say('a1', { input: [{ ...unstored.output[0], encrypted_content: 'gAAAAnonsense=' }] })
  expect(broken.error.message).toContain('could not be decrypted or parsed')
  const path = `/v1/responses/${asked.id}`
  const told = await Promise.all(
    ['', '?include[]=reasoning.encrypted_content'].map(query => ask(sim, { key: 'a1', method: 'GET', path: path + query }).heard),
  )
  expect(told.map(({ text }) => typeof JSON.parse(text).output[0].encrypted_content)).toEqual(['undefined', 'string'])
})
