import { expect, test } from 'vitest'
import { refusalOf, send } from '../client.ts'
import { openWorld, type World } from '../world.ts'

/** A stored answer, and the id of its first item. */
async function answered(world: World, body: object = {}): Promise<{ response: string; item: string }> {
  const { json } = await send(world, { body: { model: 'sim', input: 'remember this', ...body } })
  const [item] = json.output as { id: string }[]
  return { response: String(json.id), item: item!.id }
}

const referTo = (id: string, more: object = {}) => ({ model: 'sim', input: [{ type: 'item_reference', id }], ...more })

test('an item of somebody else’s is answered by us, and never reaches an upstream', async () => {
  await using world = await openWorld()
  const { item } = await answered(world)
  const stranger = await world.addKey(await world.addUser())
  world.sim.reset()
  const refused = refusalOf(await send(world, { key: stranger.secret, body: referTo(item) }))
  expect(refused).toMatchObject({
    status: 400,
    type: 'invalid_request_error',
    param: 'input',
    message: `Item with id '${item}' not found. Items are not persisted when \`store\` is set to false. Try again with \`store\` set to true, or remove this item from your input.`,
  })
  expect(world.sim.attempts).toHaveLength(0)
  expect((await send(world, { body: referTo(item) })).status).toBe(200)
  await world.quiet()
})

test('ids of two accounts cannot be used together, and nobody is asked', async () => {
  await using world = await openWorld({ accounts: [{}, {}] })
  const first = await answered(world)
  const where = world.sim.attempts[0]!.key
  let second = await answered(world)
  for (let n = 0; n < 20 && world.sim.attempts.at(-1)!.key === where; n++) second = await answered(world)
  expect(world.sim.attempts.at(-1)!.key).not.toBe(where)
  world.sim.reset()
  const refused = refusalOf(await send(world, { body: referTo(second.item, { previous_response_id: first.response }) }))
  expect(refused).toMatchObject({
    status: 400,
    type: 'invalid_request_error',
    message: 'The ids in this request belong to different upstream accounts and cannot be used together',
  })
  expect(world.sim.attempts).toHaveLength(0)
  await world.quiet()
})

test('what nobody foresaw is a 500 that says nothing of its cause', async () => {
  const wrapCoordinator = <Port extends object>(port: Port): Port => ({
    ...port,
    enter: () => Promise.reject(new TypeError('a mistake of ours, with a secret in it')),
  })
  await using world = await openWorld({ adapters: { wrapCoordinator } })
  const refused = refusalOf(await send(world))
  expect(refused).toMatchObject({ status: 500, type: 'api_error', code: null, param: null, message: 'Failed to process request' })
  expect((await world.rows())[0]).toMatchObject({ status: 500n, ended: 'refused', fault: 'unforeseen', cost: 0n })
  await world.quiet()
})
