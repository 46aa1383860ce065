/** What is kept on this device: recordings until they are sent, and documents that were opened, to be read offline. */

const NAME = 'milo'
const VERSION = 1
export type Store = 'recordings' | 'pieces' | 'documents'

let opened: Promise<IDBDatabase> | null = null

function database(): Promise<IDBDatabase> {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION)
    request.onupgradeneeded = () => {
      for (const store of ['recordings', 'pieces', 'documents']) request.result.createObjectStore(store)
    }
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  return opened
}

async function run<T>(store: Store, mode: IDBTransactionMode, act: (on: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const transaction = (await database()).transaction(store, mode)
  const request = act(transaction.objectStore(store))
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result)
    transaction.onabort = transaction.onerror = () => reject(transaction.error ?? request.error)
  })
}

export const put = (store: Store, key: IDBValidKey, value: unknown) =>
  run(store, 'readwrite', (on) => on.put(value, key))
export const read = <T>(store: Store, key: IDBValidKey) =>
  run<T | undefined>(store, 'readonly', (on) => on.get(key))
export const all = <T>(store: Store, range?: IDBKeyRange) => run<T[]>(store, 'readonly', (on) => on.getAll(range))
export const drop = (store: Store, key: IDBValidKey | IDBKeyRange) =>
  run(store, 'readwrite', (on) => on.delete(key))
export const empty = (store: Store) => run(store, 'readwrite', (on) => on.clear())
