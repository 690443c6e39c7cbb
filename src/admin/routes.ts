import { OpenAPIHono, z } from '@hono/zod-openapi'
import { object } from './fields.ts'
import { refuseInvalid } from './refusal.ts'

/** Where all of it is. */
export const basePath = '/admin/v1'

/** The routes of one resource. What does not fit their schemas is refused in the same words everywhere. */
export function routes() {
  return new OpenAPIHono({ defaultHook: refuseInvalid })
}

/** A thing in a path, by its name or its id. */
export const refParams = z.object({ ref: z.string().min(1).max(300) })

export const idParams = z.object({ id: z.string().min(1).max(100) })

const pageMost = 500

/** The query of a list. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(pageMost).default(100),
  cursor: z.string().max(200).optional().describe('The `next` of the page before.'),
}

export const listQuery = object('a list', pageQuery)

export function pageSchema<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), next: z.string().nullable().describe('The cursor of the next page, or null at the end.') })
}

/** A page of at most `limit` out of rows of which one more was asked for, to see whether there is more. */
export function pageOf<Row extends { readonly id: string }, View>(rows: readonly Row[], limit: number, view: (row: Row) => View) {
  const shown = rows.slice(0, limit)
  return { items: shown.map(view), next: rows.length > limit ? shown.at(-1)!.id : null }
}

/** The page of the directory that a query asks for, and the one row more. */
export function pageAsked({ limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined }) {
  return { after: cursor, limit: limit + 1 }
}

export function body<Schema extends z.ZodType>(schema: Schema, required = true) {
  return { required, content: { 'application/json': { schema } } }
}

const problemSchema = z.object({ path: z.array(z.union([z.string(), z.number()])), message: z.string() })
const refusalSchema = z
  .object({
    error: z.object({
      message: z.string().describe('A sentence for people: what is wrong, where, and what would be right.'),
      code: z.string().describe('A word for programs.'),
      path: problemSchema.shape.path.optional().describe('Where in the body the first problem stands.'),
      problems: z.array(problemSchema).optional().describe('All of them, when there are several.'),
    }),
  })
  .openapi('Refusal')

function refusal(description: string) {
  return { description, content: { 'application/json': { schema: refusalSchema } } }
}

const refusals = {
  400: refusal('It cannot be read.'),
  401: refusal('The admin token is missing or wrong.'),
  404: refusal('There is no such thing.'),
  409: refusal('It does not fit what there is.'),
  422: refusal('The body is not right; a field that is not known is refused too.'),
} as const

/** The answers of a route that reads or changes. */
export function ok<Schema extends z.ZodType>(description: string, schema: Schema) {
  return { 200: { description, content: { 'application/json': { schema } } }, ...refusals } as const
}

/** The answers of a route that makes something. */
export function made<Schema extends z.ZodType>(description: string, schema: Schema) {
  return { 201: { description, content: { 'application/json': { schema } } }, ...refusals } as const
}

/** What is answered after something was removed. */
export const removedSchema = z.object({ removed: z.string().describe('The id of what is no more.') })
