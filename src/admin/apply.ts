import { createRoute, z } from '@hono/zod-openapi'
import { changeBook } from '../directory/prices.ts'
import { object } from './fields.ts'
import { type Change, planOf, readPresent } from './plan.ts'
import type { AdminParts } from './ports.ts'
import { pruneOf } from './prune.ts'
import { body, ok, routes } from './routes.ts'
import { setupSchema } from './setup.ts'
import { save } from './writing.ts'

/** Makes the installation as a setup says: all of it in one commit, or nothing. Applied twice, the second time changes nothing. */
export function applyRoutes(parts: AdminParts) {
  return routes().openapi(apply, async context => {
    const changes = await applySetup(context.req.valid('json'), parts)
    return context.json({ changes: changes.map(change => ({ ...change })) }, 200)
  })
}

const applySchema = object('an apply', {
  setup: setupSchema,
  dryRun: z.boolean().default(false).describe('Only say what would change.'),
  prune: z
    .boolean()
    .default(false)
    .describe(
      'Also remove what the sections of the setup do not name. What the books refer to is disabled instead; such a group is emptied of its accounts.',
    ),
})

const changeSchema = z
  .object({
    kind: z.enum(['group', 'account', 'user', 'price']),
    name: z.string(),
    action: z.enum(['made', 'changed', 'unchanged', 'removed']),
    fields: z
      .record(z.string(), z.object({ from: z.any(), to: z.any() }))
      .optional()
      .describe('What each changed field was and is.'),
  })
  .openapi('Change')

const apply = createRoute({
  method: 'post',
  path: '/apply',
  tags: ['apply'],
  request: { body: body(applySchema) },
  responses: ok('What changed, or would.', z.object({ changes: z.array(changeSchema) })),
})

async function applySetup({ setup, dryRun, prune }: z.output<typeof applySchema>, parts: AdminParts): Promise<Change[]> {
  const present = await readPresent(parts)
  const planned = await planOf(setup, present, prune, parts)
  if (prune) planned.push(...(await pruneOf(setup, present, parts)))
  const doing = planned.filter(({ change }) => change.action !== 'unchanged')
  if (!dryRun && doing.length > 0) {
    const lines = doing.flatMap(({ line }) => line ?? [])
    const steps = [...doing.flatMap(one => one.steps), ...changeBook(present.book, lines, parts.clock.nowMs()).steps]
    const deeds = doing.map(({ change }) => ({ what: change.action, target: `${change.kind} ${change.name}` }))
    await save(parts, steps, deeds)
  }
  return planned.map(({ change }) => change)
}
