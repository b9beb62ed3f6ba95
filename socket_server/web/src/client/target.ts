/** Types for an EventTarget with known events. */

/** An EventTarget of `CustomEvent`s; the detail of event `name` is an `Events[name]`. */
export interface TypedTarget<Events> extends EventTarget {
  addEventListener<Name extends keyof Events & string>(
    name: Name,
    listener: (event: CustomEvent<Events[Name]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    name: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Name extends keyof Events & string>(
    name: Name,
    listener: (event: CustomEvent<Events[Name]>) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    name: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** EventTarget as the base class of a class that dispatches `Events`. */
export function targetOf<Events>(): new () => TypedTarget<Events> {
  return EventTarget as new () => TypedTarget<Events>;
}
