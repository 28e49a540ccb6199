namespace LongCtx;

/// <summary>The names that events have in a journal and on a stream.</summary>
public static class EventKinds
{
    public static string Of(ConversationEvent e) => e switch
    {
        TurnAccepted => TurnAccepted.Kind,
        InputAppended => InputAppended.Kind,
        Delta => Delta.Kind,
        Evicted => Evicted.Kind,
        Recalled => Recalled.Kind,
        AdapterConfigured => AdapterConfigured.Kind,
        AdapterUpdated => AdapterUpdated.Kind,
        AdapterRejected => AdapterRejected.Kind,
        Completed => Completed.Kind,
        Failed => Failed.Kind,
        Cancelled => Cancelled.Kind,
        Rewound => Rewound.Kind,
        _ => throw new ArgumentOutOfRangeException(nameof(e), e.GetType().Name, "an event without a kind"),
    };
}
