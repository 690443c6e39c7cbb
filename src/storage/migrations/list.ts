import type { Migration } from '../migrate.ts'
import { books } from './0001-books.ts'
import { callsByKey } from './0002-calls-by-key.ts'

/** Every change of the schema, in order. A new one is a file and a line here. */
export const migrations: readonly Migration[] = [books, callsByKey]
