import { createRoute, z } from '@hono/zod-openapi'
import type { Group, Subscription } from '../directory/entities.ts'
import { findGroup } from '../directory/groups.ts'
import {
  endSubscription,
  extendSubscription,
  findSubscription,
  limitSubscription,
  listSubscriptions,
  makeSubscription,
} from '../directory/subscriptions.ts'
import type { Step } from '../storage/database.ts'
import { timeText } from './entities.ts'
import { object, time } from './fields.ts'
import { userInBody, userNamed } from './lookup.ts'
import type { AdminParts } from './ports.ts'
import { invalid, notFound } from './refusal.ts'
import { body, idParams, made, ok, pageAsked, pageOf, pageQuery, pageSchema, routes } from './routes.ts'
import {
  limitChangesOf,
  limitFields,
  limitsOf,
  subscriptionNow,
  subscriptionNowSchema,
  subscriptionSchema,
  subscriptionViewer,
} from './subscription-views.ts'
import { save } from './writing.ts'

/** People's share of a group for a time. */
export function subscriptionRoutes(parts: AdminParts) {
  const view = async (subscription: Subscription) => (await subscriptionViewer([subscription], parts))(subscription)
  return routes()
    .openapi(list, async context => {
      const { user, ...query } = context.req.valid('query')
      const userId = user === undefined ? undefined : (await userNamed(parts, user)).id
      const subscriptions = await listSubscriptions(parts.database, pageAsked(query), userId)
      return context.json(pageOf(subscriptions, query.limit, await subscriptionViewer(subscriptions, parts)), 200)
    })
    .openapi(assign, async context => context.json(await view(await assignOne(context.req.valid('json'), parts)), 201))
    .openapi(show, async context => {
      const subscription = await subscriptionOfId(context.req.valid('param').id, parts)
      return context.json(await subscriptionNow(subscription, parts), 200)
    })
    .openapi(change, async context => {
      const { id } = context.req.valid('param')
      const limits = limitChangesOf(context.req.valid('json'))
      return context.json(await view(await changeOne(id, 'changed', (one, nowMs) => limitSubscription(one, limits, nowMs), parts)), 200)
    })
    .openapi(extend, async context => {
      const { id } = context.req.valid('param')
      return context.json(await view(await extendOne(id, context.req.valid('json'), parts)), 200)
    })
    .openapi(end, async context => context.json(await view(await endOne(context.req.valid('param').id, parts)), 200))
    .openapi(endByDelete, async context => context.json(await view(await endOne(context.req.valid('param').id, parts)), 200))
}

const dayMs = 24 * 60 * 60 * 1000
/** For a subscription, an extension, a code. */
export const days = z.int().min(1).max(3_660)

const assignSchema = object('a subscription', {
  user: z.string().min(1).max(300).describe('E-mail address or id.'),
  group: z.string().min(1).max(100).describe('Name or id of a group that pays by subscription.'),
  startsAt: time.optional().describe('Now when left out.'),
  endsAt: time.optional().describe('Either this or days.'),
  days: days.optional(),
  dailyLimit: limitFields.dailyLimit.default(null),
  weeklyLimit: limitFields.weeklyLimit.default(null),
  monthlyLimit: limitFields.monthlyLimit.default(null),
}).superRefine(({ endsAt, days }, check) => {
  if ((endsAt === undefined) === (days === undefined))
    check.addIssue({ code: 'custom', path: ['endsAt'], message: 'takes a time, or days takes a number: one of both' })
})

const extensionSchema = object('an extension', {
  days: days.optional().describe('How many times 24 h longer. Two such extensions at once give both.'),
  until: time.optional().describe('Or when it shall end: later than it does.'),
}).superRefine(({ until, days }, check) => {
  if ((until === undefined) === (days === undefined))
    check.addIssue({ code: 'custom', path: ['days'], message: 'takes a number, or until takes a time: one of both' })
})

const limitsSchema = object('a change of a subscription', limitFields).partial()

const tags = ['subscriptions']
const listSubscriptionsQuery = object('a list of subscriptions', {
  ...pageQuery,
  user: z.string().max(300).optional().describe('Of one user only.'),
})
const list = createRoute({
  method: 'get',
  path: '/subscriptions',
  tags,
  request: { query: listSubscriptionsQuery },
  responses: ok('Subscriptions by age, ended ones too.', pageSchema(subscriptionSchema)),
})
const assign = createRoute({
  method: 'post',
  path: '/subscriptions',
  tags,
  request: { body: body(assignSchema) },
  responses: made('The subscription.', subscriptionSchema),
})
const show = createRoute({
  method: 'get',
  path: '/subscriptions/{id}',
  tags,
  request: { params: idParams },
  responses: ok('The subscription and what is left in its windows.', subscriptionNowSchema),
})
const change = createRoute({
  method: 'patch',
  path: '/subscriptions/{id}',
  tags,
  description: 'Changes the limits that the body has. They hold at once, for the windows that run as well.',
  request: { params: idParams, body: body(limitsSchema) },
  responses: ok('The subscription as it is now.', subscriptionSchema),
})
const extend = createRoute({
  method: 'post',
  path: '/subscriptions/{id}/extend',
  tags,
  description: 'Lets one that has not ended last longer. Its windows stay as they are.',
  request: { params: idParams, body: body(extensionSchema) },
  responses: ok('The subscription as it is now.', subscriptionSchema),
})
const ending = {
  tags,
  description: 'Ends it now. It stays in the list, because charges refer to its windows.',
  request: { params: idParams },
  responses: ok('The subscription as it is now.', subscriptionSchema),
} as const
const end = createRoute({ method: 'post', path: '/subscriptions/{id}/end', ...ending })
const endByDelete = createRoute({ method: 'delete', path: '/subscriptions/{id}', ...ending })

async function assignOne(said: z.output<typeof assignSchema>, parts: AdminParts): Promise<Subscription> {
  const user = await userInBody(parts, said.user)
  const group = await subscribedGroupInBody(parts, said.group)
  const nowMs = parts.clock.nowMs()
  const startsAtMs = said.startsAt ?? nowMs
  const endsAtMs = said.endsAt ?? startsAtMs + said.days! * dayMs
  if (endsAtMs <= startsAtMs) throw invalid([{ path: ['endsAt'], message: 'endsAt is not after startsAt.' }])
  const { entity, steps } = makeSubscription({ userId: user.id, groupId: group.id, startsAtMs, endsAtMs, ...limitsOf(said) }, nowMs)
  await save(parts, steps, [{ what: `assigned ${group.name} to`, target: `user ${user.email}` }])
  return entity
}

/** The group that a body names in its field `group`, which must be one that is paid by subscription. */
export async function subscribedGroupInBody({ database }: Pick<AdminParts, 'database'>, ref: string): Promise<Group> {
  const group = await findGroup(database, ref)
  if (group === undefined) throw invalid([{ path: ['group'], message: `group names ${JSON.stringify(ref)}, and there is no such group.` }])
  if (group.pays !== 'subscription')
    throw invalid([{ path: ['group'], message: `The group ${group.name} is paid from balances; set its pays to "subscription" first.` }])
  return group
}

async function subscriptionOfId(id: string, { database }: AdminParts): Promise<Subscription> {
  const subscription = await findSubscription(database, id)
  if (subscription === undefined) throw notFound('subscription', id)
  return subscription
}

async function extendOne(id: string, said: z.output<typeof extensionSchema>, parts: AdminParts): Promise<Subscription> {
  const extension = said.until === undefined ? { byMs: said.days! * dayMs } : { untilMs: said.until }
  const what = said.until === undefined ? `extended by ${said.days} days` : `extended until ${timeText(said.until)}`
  return changeOne(id, what, (one, nowMs) => extendSubscription(one, extension, nowMs), parts)
}

function endOne(id: string, parts: AdminParts): Promise<Subscription> {
  return changeOne(id, 'ended', endSubscription, parts)
}

type Change = (subscription: Subscription, nowMs: number) => readonly Step[]

/** As it is afterwards: what others did to it at the same moment shows as well. */
async function changeOne(id: string, what: string, change: Change, parts: AdminParts): Promise<Subscription> {
  const subscription = await subscriptionOfId(id, parts)
  await save(parts, change(subscription, parts.clock.nowMs()), [{ what, target: `subscription ${id}` }])
  return subscriptionOfId(id, parts)
}
