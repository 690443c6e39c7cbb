import type { Migration } from '../migrate.ts'
import { books } from './0001-books.ts'
import { uncollectedWhy } from './0005-uncollected-why.ts'

/** Every change of the schema, in order. A new one is a file and a line here. */
export const migrations: readonly Migration[] = [books, uncollectedWhy]
