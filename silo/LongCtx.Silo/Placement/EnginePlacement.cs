using Orleans.Placement;

namespace LongCtx.Silo.Placement;

/// <summary>On a silo that has the grain's model loaded and room for it: <see cref="EnginePlacementDirector"/>.</summary>
[GenerateSerializer, Immutable, SuppressReferenceTracking, Alias("longctx.engine-placement")]
internal sealed class EnginePlacement : PlacementStrategy;

[AttributeUsage(AttributeTargets.Class)]
internal sealed class EnginePlacementAttribute() : PlacementAttribute(new EnginePlacement());
