import OpenAI, { NotFoundError } from 'openai'
import { expect, test } from 'vitest'
import { makeGroup } from '../../src/directory/groups.ts'
import { parseDecimal } from '../../src/ledger/money.ts'
import { type Json, refusalOf, send } from '../client.ts'
import { openWorld, type World } from '../world.ts'

/** Which models a key may use: GET /v1/models. */

const namesOf = async (world: World, more: object = {}) => {
  const { status, json } = await send(world, { method: 'GET', path: '/v1/models', ...more })
  expect(status).toBe(200)
  expect(json.object).toBe('list')
  return (json.data as Json[]).map(({ id }) => id)
}

test('an account without a table serves what has a price, one with a table what stands there and has one', async () => {
  await using open = await openWorld({ prices: [{}, { model: 'other' }] })
  expect(await namesOf(open)).toEqual(['other', 'sim'])
  await using world = await openWorld({
    accounts: [{ models: { fast: 'sim', costless: 'nobody-prices-this' } }, { models: { own: 'sim' }, disabled: true }],
  })
  expect(await namesOf(world)).toEqual(['fast'])
})

test('a group that gives away what has no price lists that too', async () => {
  await using world = await openWorld({ group: { unpriced: 'free' }, accounts: [{ models: { costless: 'nobody-prices-this' } }] })
  expect(await namesOf(world)).toEqual(['costless'])
})

test('another key sees its own groups only', async () => {
  await using world = await openWorld()
  const { entity, steps } = makeGroup(
    { name: 'empty', multiplier: parseDecimal('1'), pays: 'balance', unpriced: 'refuse', onClientLeft: 'drain', firstEventLimitMs: null },
    Date.now(),
  )
  await world.commit(steps)
  const { secret } = await world.addKey(world.user, { groupIds: [entity.id] })
  expect(await namesOf(world, { key: secret })).toEqual([])
  expect(refusalOf(await send(world, { method: 'GET', path: '/v1/models', key: 'sk-hg-nobody' }))).toMatchObject({
    status: 401,
    code: 'invalid_api_key',
  })
})

test('openai-node lists them and finds one by its name, with a slash or without, and no other', async () => {
  await using world = await openWorld({ accounts: [{ models: { sim: 'sim', 'lab/sim': 'sim' } }] })
  const client = new OpenAI({ baseURL: `${world.url}/v1`, apiKey: world.key, maxRetries: 0 })
  const listed: string[] = []
  for await (const { id } of await client.models.list()) listed.push(id)
  expect(listed).toEqual(['lab/sim', 'sim'])
  const found = await client.models.retrieve('lab/sim')
  expect(found).toMatchObject({ id: 'lab/sim', object: 'model', owned_by: 'headgate' })
  expect(Number.isInteger(found.created)).toBe(true)
  const unknown = await client.models.retrieve('no such').catch((error: unknown) => error)
  expect(unknown).toBeInstanceOf(NotFoundError)
  expect(unknown).toMatchObject({
    message: `404 The model 'no such' does not exist or you do not have access to it.`,
    ...{ code: 'model_not_found', param: 'model', type: 'invalid_request_error' },
  })
})

test('Codex, which says its version, is told them in its own form as well', async () => {
  await using world = await openWorld()
  const { json } = await send(world, { method: 'GET', path: '/v1/models?client_version=0.169.0' })
  expect(json.models).toMatchObject([{ slug: 'sim', display_name: 'sim', visibility: 'list', supported_in_api: true }])
  expect(await send(world, { method: 'POST', path: '/v1/models' })).toMatchObject({ status: 405 })
})
