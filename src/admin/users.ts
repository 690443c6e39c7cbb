import { createRoute, z } from '@hono/zod-openapi'
import type { User } from '../directory/entities.ts'
import { referencesTo } from '../directory/references.ts'
import { changeUser, listUsers, makeUser, removeUser } from '../directory/users.ts'
import { setupOfUser, timeText, userOfSetup, withChanges } from './entities.ts'
import { userNamed } from './lookup.ts'
import type { AdminParts } from './ports.ts'
import { Refusal } from './refusal.ts'
import { body, listQuery, made, ok, pageAsked, pageOf, pageSchema, refParams, removedSchema, routes } from './routes.ts'
import { userChangeSchema, userSchema } from './setup.ts'
import { save } from './writing.ts'

/** People, each with a wallet and limits. */
export function userRoutes(parts: AdminParts) {
  return routes()
    .openapi(list, async context => {
      const query = context.req.valid('query')
      return context.json(pageOf(await listUsers(parts.database, pageAsked(query)), query.limit, userView), 200)
    })
    .openapi(make, async context => {
      const { entity, steps } = makeUser(userOfSetup(context.req.valid('json')), parts.clock.nowMs())
      await save(parts, steps, [{ what: 'made', target: `user ${entity.email}` }])
      return context.json(userView(entity), 201)
    })
    .openapi(show, async context => context.json(userView(await userNamed(parts, context.req.valid('param').ref)), 200))
    .openapi(change, async context => {
      const user = await userNamed(parts, context.req.valid('param').ref)
      const changed = { ...user, ...userOfSetup(withChanges(setupOfUser(user), context.req.valid('json'))) }
      await save(parts, changeUser(changed), [{ what: 'changed', target: `user ${user.email}` }])
      return context.json(userView(changed), 200)
    })
    .openapi(remove, async context => {
      const user = await userNamed(parts, context.req.valid('param').ref)
      const references = await referencesTo(parts.database, 'user', user.id)
      if (references.length > 0) throw new Refusal(409, 'in_use', inUse(user.email, references))
      await save(parts, removeUser(user), [{ what: 'removed', target: `user ${user.email}` }])
      return context.json({ removed: user.id }, 200)
    })
}

const userViewSchema = z
  .object({
    id: z.string(),
    email: z.string(),
    concurrency: z.number(),
    requestsPerMinute: z.number().nullable(),
    tokensPerMinute: z.number().nullable(),
    disabled: z.boolean(),
    createdAt: z.string(),
  })
  .openapi('User')

function userView(user: User): z.input<typeof userViewSchema> {
  return { id: user.id, ...setupOfUser(user), createdAt: timeText(user.createdAtMs) }
}

const tags = ['users']
const list = createRoute({
  method: 'get',
  path: '/users',
  tags,
  request: { query: listQuery },
  responses: ok('Users by age.', pageSchema(userViewSchema)),
})
const make = createRoute({
  method: 'post',
  path: '/users',
  tags,
  description: 'Makes a user and an empty wallet.',
  request: { body: body(userSchema) },
  responses: made('The user.', userViewSchema),
})
const show = createRoute({
  method: 'get',
  path: '/users/{ref}',
  tags,
  request: { params: refParams },
  responses: ok('The user.', userViewSchema),
})
const change = createRoute({
  method: 'patch',
  path: '/users/{ref}',
  tags,
  description: 'Changes the fields that the body has. All keys of a disabled user stop working at once.',
  request: { params: refParams, body: body(userChangeSchema) },
  responses: ok('The user as it is now.', userViewSchema),
})
const remove = createRoute({
  method: 'delete',
  path: '/users/{ref}',
  tags,
  description: 'Removes a user whom nothing refers to. One who has money or made calls can only be disabled.',
  request: { params: refParams },
  responses: ok('It is gone.', removedSchema),
})

function inUse(email: string, references: readonly string[]): string {
  return `The user ${email} cannot be removed, because ${references.join(', ')} refer to it. Disable it instead: its keys stop working at once.`
}
