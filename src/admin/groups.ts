import { createRoute, z } from '@hono/zod-openapi'
import type { Group } from '../directory/entities.ts'
import { changeGroup, clientLeftPolicies, listGroups, makeGroup, removeGroup, unpricedPolicies, waysOfPaying } from '../directory/groups.ts'
import { referencesTo } from '../directory/references.ts'
import { groupOfSetup, setupOfGroup, timeText, withChanges } from './entities.ts'
import { groupNamed } from './lookup.ts'
import type { AdminParts } from './ports.ts'
import { Refusal } from './refusal.ts'
import { body, listQuery, made, ok, pageAsked, pageOf, pageSchema, refParams, removedSchema, routes } from './routes.ts'
import { groupChangeSchema, groupSchema } from './setup.ts'
import { save } from './writing.ts'

/** Pools of accounts, with a price multiplier and a way of paying. */
export function groupRoutes(parts: AdminParts) {
  return routes()
    .openapi(list, async context => {
      const query = context.req.valid('query')
      return context.json(pageOf(await listGroups(parts.database, pageAsked(query)), query.limit, groupView), 200)
    })
    .openapi(make, async context => {
      const { entity, steps } = makeGroup(groupOfSetup(context.req.valid('json')), parts.clock.nowMs())
      await save(parts, steps, [{ what: 'made', target: `group ${entity.name}` }])
      return context.json(groupView(entity), 201)
    })
    .openapi(show, async context => context.json(groupView(await groupNamed(parts, context.req.valid('param').ref)), 200))
    .openapi(change, async context => {
      const group = await groupNamed(parts, context.req.valid('param').ref)
      const changed = { ...group, ...groupOfSetup(withChanges(setupOfGroup(group), context.req.valid('json'))) }
      await save(parts, changeGroup(changed), [{ what: 'changed', target: `group ${group.name}` }])
      return context.json(groupView(changed), 200)
    })
    .openapi(remove, async context => {
      const group = await groupNamed(parts, context.req.valid('param').ref)
      const references = await referencesTo(parts.database, 'group', group.id)
      if (references.length > 0) throw new Refusal(409, 'in_use', inUse(group.name, references))
      await save(parts, removeGroup(group), [{ what: 'removed', target: `group ${group.name}` }])
      return context.json({ removed: group.id }, 200)
    })
}

const groupViewSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    multiplier: z.string(),
    pays: z.enum(waysOfPaying),
    unpriced: z.enum(unpricedPolicies),
    onClientLeft: z.enum(clientLeftPolicies),
    firstEventLimitMs: z.number().nullable(),
    createdAt: z.string(),
  })
  .openapi('Group')

function groupView(group: Group): z.input<typeof groupViewSchema> {
  return { id: group.id, ...setupOfGroup(group), createdAt: timeText(group.createdAtMs) }
}

const tags = ['groups']
const list = createRoute({
  method: 'get',
  path: '/groups',
  tags,
  request: { query: listQuery },
  responses: ok('Groups by age.', pageSchema(groupViewSchema)),
})
const make = createRoute({
  method: 'post',
  path: '/groups',
  tags,
  request: { body: body(groupSchema) },
  responses: made('The group.', groupViewSchema),
})
const show = createRoute({
  method: 'get',
  path: '/groups/{ref}',
  tags,
  request: { params: refParams },
  responses: ok('The group.', groupViewSchema),
})
const change = createRoute({
  method: 'patch',
  path: '/groups/{ref}',
  tags,
  description: 'Changes the fields that the body has. Calls that run keep what they began with.',
  request: { params: refParams, body: body(groupChangeSchema) },
  responses: ok('The group as it is now.', groupViewSchema),
})
const remove = createRoute({
  method: 'delete',
  path: '/groups/{ref}',
  tags,
  description: 'Removes a group that nothing refers to.',
  request: { params: refParams },
  responses: ok('It is gone.', removedSchema),
})

function inUse(name: string, references: readonly string[]): string {
  return `The group ${name} cannot be removed, because ${references.join(', ')} refer to it. Take its accounts out of it: then it serves nobody.`
}
