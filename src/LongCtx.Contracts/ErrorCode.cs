namespace LongCtx;

/// <summary>What a caller can do differently. The HTTP layer maps each to one status and one OpenAI error code.</summary>
public enum ErrorCode
{
    /// <summary>The request is malformed or a value is out of range: correct it and send it again (400).</summary>
    InvalidRequest,

    /// <summary>A known parameter that this version does not implement and that would change the output (400).</summary>
    UnsupportedParameter,

    /// <summary>The prompt, or its growth, goes past the bound of the chosen policy (400).</summary>
    ContextLengthExceeded,

    /// <summary>No model of that name is loaded (404).</summary>
    ModelNotFound,

    /// <summary>All places are taken and so is the queue: try again later (429).</summary>
    QueueFull,

    /// <summary>The server is going down and takes no new work (503).</summary>
    ShuttingDown,

    /// <summary>No API key, or one that is not known (401).</summary>
    Unauthorized,

    /// <summary>No conversation, response or item of that id for this tenant (404).</summary>
    NotFound,

    /// <summary>It was deleted (410).</summary>
    Deleted,

    /// <summary>Another turn of the conversation is being answered: wait for it or cancel it (409).</summary>
    TurnInProgress,

    /// <summary>The same turn id, or producer number, with another payload; or the conversation went on meanwhile (409).</summary>
    Conflict,

    /// <summary>The tenant's limit is reached: delete something or wait (429).</summary>
    LimitReached,

    /// <summary>The store cannot be reached or cannot write; nothing that was acknowledged is lost (503).</summary>
    StoreUnavailable,

    /// <summary>No server answers, or no longer: start it, or correct its address. Only clients say this.</summary>
    Unreachable,

    /// <summary>The engine failed; our mistake (500).</summary>
    EngineFailure,
}
