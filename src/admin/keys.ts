import { createRoute, z } from '@hono/zod-openapi'
import type { Key } from '../directory/entities.ts'
import { groupNamesOf } from '../directory/groups.ts'
import { changeKey, findKey, listKeys, makeKey, removeKey } from '../directory/keys.ts'
import { namesOf, timeText, timeTextOrNull, withChanges } from './entities.ts'
import { addressRange, concurrency, label, object, perMinute, time } from './fields.ts'
import { groupsInBody, labelsOf, userInBody, userNamed } from './lookup.ts'
import type { AdminParts } from './ports.ts'
import { notFound } from './refusal.ts'
import { body, idParams, made, ok, pageAsked, pageOf, pageQuery, pageSchema, removedSchema, routes } from './routes.ts'
import { save } from './writing.ts'

/** What people present to the gateway. The secret of a key is in one answer only: the one to its making. */
export function keyRoutes(parts: AdminParts) {
  return routes()
    .openapi(list, async context => {
      const { user, ...query } = context.req.valid('query')
      const userId = user === undefined ? undefined : (await userNamed(parts, user)).id
      const keys = await listKeys(parts.database, pageAsked(query), userId)
      const view = await viewer(keys, parts)
      return context.json(pageOf(keys, query.limit, view), 200)
    })
    .openapi(make, async context => {
      const { key, secret } = await makeOne(context.req.valid('json'), parts)
      return context.json({ ...(await viewer([key], parts))(key), key: secret }, 201)
    })
    .openapi(show, async context => {
      const key = await keyOf(context.req.valid('param').id, parts)
      return context.json((await viewer([key], parts))(key), 200)
    })
    .openapi(change, async context => {
      const changed = await changeOne(await keyOf(context.req.valid('param').id, parts), context.req.valid('json'), parts)
      return context.json((await viewer([changed], parts))(changed), 200)
    })
    .openapi(remove, async context => {
      const key = await keyOf(context.req.valid('param').id, parts)
      await save(parts, removeKey(key), [{ what: 'removed', target: `key ${key.id}` }])
      return context.json({ removed: key.id }, 200)
    })
}

const addressesMost = 1_000
const fields = {
  groups: z.array(label).min(1).max(100).describe('Names or ids, in the order in which they are tried.'),
  name: label,
  concurrency: concurrency.nullable(),
  requestsPerMinute: perMinute,
  tokensPerMinute: perMinute,
  allowAddresses: z.array(addressRange).max(addressesMost).describe('Addresses or ranges it may come from; empty allows all.'),
  denyAddresses: z.array(addressRange).max(addressesMost).describe('Addresses or ranges it may not come from; these win.'),
  expiresAt: time.nullable(),
  disabled: z.boolean(),
}

const keySchema = object('a key', {
  user: z.string().min(1).max(300).describe('Whose it is: e-mail address or id.'),
  groups: fields.groups,
  name: label,
  concurrency: fields.concurrency.default(null),
  requestsPerMinute: perMinute.default(null),
  tokensPerMinute: perMinute.default(null),
  allowAddresses: fields.allowAddresses.default([]),
  denyAddresses: fields.denyAddresses.default([]),
  expiresAt: fields.expiresAt.default(null),
  disabled: fields.disabled.default(false),
})
const keyChangeSchema = object('a key', fields).partial()

const keyViewSchema = z
  .object({
    id: z.string(),
    user: z.string(),
    name: z.string(),
    hint: z.string().describe('The first and last characters of the secret.'),
    groups: z.array(z.string()),
    concurrency: z.number().nullable(),
    requestsPerMinute: z.number().nullable(),
    tokensPerMinute: z.number().nullable(),
    allowAddresses: z.array(z.string()),
    denyAddresses: z.array(z.string()),
    expiresAt: z.string().nullable(),
    disabled: z.boolean(),
    createdAt: z.string(),
  })
  .openapi('Key')
const madeKeySchema = keyViewSchema
  .extend({ key: z.string().describe('The secret. It is told this once and kept nowhere.') })
  .openapi('MadeKey')

const tags = ['keys']
const listKeysQuery = object('a list of keys', { ...pageQuery, user: z.string().max(300).optional().describe('Of one user only.') })
const list = createRoute({
  method: 'get',
  path: '/keys',
  tags,
  request: { query: listKeysQuery },
  responses: ok('Keys by age.', pageSchema(keyViewSchema)),
})
const make = createRoute({
  method: 'post',
  path: '/keys',
  tags,
  request: { body: body(keySchema) },
  responses: made('The key and its secret.', madeKeySchema),
})
const show = createRoute({
  method: 'get',
  path: '/keys/{id}',
  tags,
  request: { params: idParams },
  responses: ok('The key.', keyViewSchema),
})
const change = createRoute({
  method: 'patch',
  path: '/keys/{id}',
  tags,
  description: 'Changes the fields that the body has. A disabled key stops working at once.',
  request: { params: idParams, body: body(keyChangeSchema) },
  responses: ok('The key as it is now.', keyViewSchema),
})
const remove = createRoute({
  method: 'delete',
  path: '/keys/{id}',
  tags,
  description: 'Removes a key, which stops working at once. Rows of its calls keep its id.',
  request: { params: idParams },
  responses: ok('It is gone.', removedSchema),
})

async function keyOf(id: string, { database }: AdminParts): Promise<Key> {
  const key = await findKey(database, id)
  if (key === undefined) throw notFound('key', id)
  return key
}

async function makeOne({ user, groups, expiresAt, ...same }: z.output<typeof keySchema>, parts: AdminParts) {
  const { id: userId } = await userInBody(parts, user)
  const groupIds = await groupsInBody(parts, groups)
  const { entity, secret, steps } = makeKey({ ...same, userId, groupIds, expiresAtMs: expiresAt }, parts.clock.nowMs())
  await save(parts, steps, [{ what: 'made', target: `key ${entity.id}` }])
  return { key: entity, secret }
}

async function changeOne(key: Key, changes: z.output<typeof keyChangeSchema>, parts: AdminParts): Promise<Key> {
  const { groups, expiresAt, ...same } = changes
  const groupIds = groups === undefined ? undefined : await groupsInBody(parts, groups)
  const changed = withChanges<Key>(key, { ...same, groupIds, expiresAtMs: expiresAt })
  await save(parts, changeKey(changed), [{ what: 'changed', target: `key ${key.id}` }])
  return changed
}

/** Reads the names that the views of these keys need, all at once. */
async function viewer(keys: readonly Key[], parts: AdminParts): Promise<(key: Key) => z.input<typeof keyViewSchema>> {
  const userIds = keys.map(key => key.userId)
  const [emails, groupNames] = await Promise.all([labelsOf(parts, 'user', userIds), groupNamesOf(parts.database)])
  return key => ({
    id: key.id,
    user: emails.get(key.userId) ?? key.userId,
    name: key.name,
    hint: key.hint,
    groups: namesOf(key.groupIds, groupNames),
    concurrency: key.concurrency,
    requestsPerMinute: key.requestsPerMinute,
    tokensPerMinute: key.tokensPerMinute,
    allowAddresses: [...key.allowAddresses],
    denyAddresses: [...key.denyAddresses],
    expiresAt: timeTextOrNull(key.expiresAtMs),
    disabled: key.disabled,
    createdAt: timeText(key.createdAtMs),
  })
}
