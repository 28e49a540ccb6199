using LongCtx.Silo.Grains;

namespace LongCtx.Silo;

/// <summary>
/// Whoever calls a grain has said for which tenant, after authenticating it; the grain's key must be that tenant's. A mistake in the gateway then is a refusal,
/// not a leak.
/// </summary>
internal sealed class TenantFilter : IIncomingGrainCallFilter
{
    const string Label = "longctx.tenant";

    /// <summary>The calls that follow are made for this tenant.</summary>
    public static void Become(string tenant) => RequestContext.Set(Label, tenant);

    public Task Invoke(IIncomingGrainCallContext context)
    {
        if (context.Grain is not (IConversationGrain or IComputeGrain) || context.InterfaceMethod.DeclaringType?.Namespace != typeof(IConversationGrain).Namespace) return context.Invoke();
        string owner = GrainKeys.Parse(context.TargetId.Key.ToString()!).Tenant;
        return RequestContext.Get(Label) as string == owner
            ? context.Invoke()
            : throw new UnauthorizedAccessException($"grain {context.TargetId} was called for another tenant");
    }
}
