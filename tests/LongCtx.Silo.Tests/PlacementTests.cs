using System.Net;
using LongCtx.Silo.Placement;

namespace LongCtx.Silo.Tests;

/// <summary>Where conversations go, as a function of what silos say about themselves.</summary>
public sealed class PlacementTests
{
    const string Tag = "0123abcd";

    static readonly SiloModel s_model = new(Tag, 100, default);

    static SiloCapacity Silo(int number, int generation = 1, int free = 100, int load = 0, bool hasModel = true, bool hasDevice = true, bool isDraining = false) => new(
        SiloAddress.New(new IPEndPoint(IPAddress.Loopback, 10000 * generation + number), generation), hasModel ? [s_model] : [], free, 100, load, 0, isDraining, $"disk {number}",
        hasDevice ? [new("cpu", "avx2", 2)] : []);

    static string Key(int number) => $"tenant/{Tag}/conv_{number}";

    static SiloCapacity Choose(string key, params SiloCapacity[] silos) => EnginePlacementDirector.Choose(key, [.. silos.Where(s => s.CanHost(Tag))], _ => true);

    [Fact]
    public void SilosThatCannotHaveIt_NeverGetOne()
    {
        SiloCapacity[] silos = [Silo(1), Silo(2, hasModel: false), Silo(3, isDraining: true), Silo(4, free: 0), Silo(5), Silo(6, hasDevice: false)];
        for (int i = 0; i < 2000; i++) Assert.Contains(Choose(Key(i), silos).Silo, new[] { silos[0].Silo, silos[4].Silo });
    }

    [Fact]
    public void WhereAllAreFull_TheShortestQueueGetsIt()
    {
        SiloCapacity[] silos = [Silo(1, free: 0) with { Queued = 7 }, Silo(2, free: 0) with { Queued = 3 }, Silo(3, free: 0) with { Queued = 9 }];
        for (int i = 0; i < 100; i++) Assert.Equal(silos[1].Silo, Choose(Key(i), silos).Silo);
    }

    [Fact]
    public void AConversation_ReturnsToWhereItsStateLies_AlsoUnderAnotherAddress()
    {
        SiloCapacity[] before = [.. Enumerable.Range(1, 6).Select(n => Silo(n))], after = [.. Enumerable.Range(1, 6).Select(n => Silo(n, generation: 2))];
        int same = Enumerable.Range(0, 2000).Count(i => Choose(Key(i), before).Home == Choose(Key(i), after).Home);
        Assert.Equal(2000, same);

        // One more silo takes its share and nothing else moves.
        int moved = Enumerable.Range(0, 2000).Count(i => !Choose(Key(i), before).Silo.Equals(Choose(Key(i), [.. before, Silo(7)]).Silo));
        Assert.InRange(moved, 2000 / 7 - 100, 2000 / 7 + 100);
    }

    [Fact]
    public void NoSilo_GetsMoreThanAQuarterAboveTheMean()
    {
        Dictionary<SiloAddress, SiloCapacity> silos = Enumerable.Range(1, 5).Select(n => Silo(n)).ToDictionary(s => s.Silo);
        for (int i = 0; i < 1000; i++)
        {
            SiloCapacity chosen = Choose(Key(i), [.. silos.Values]);
            silos[chosen.Silo] = chosen with { Running = chosen.Running + 1 };
        }

        Assert.All(silos.Values, s => Assert.InRange(s.Load, 1, 252));
    }

    [Fact]
    public void ASiloThatHasGoneSilent_ComesLast()
    {
        SiloCapacity[] silos = [Silo(1), Silo(2)];
        for (int i = 0; i < 200; i++) Assert.Equal(silos[1].Silo, EnginePlacementDirector.Choose(Key(i), silos, c => c == silos[1]).Silo);
    }
}
